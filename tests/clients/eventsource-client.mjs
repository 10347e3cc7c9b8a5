// @ts-check
/** npm `eventsource-client`. */

import { createEventSource } from "eventsource-client";
import { address, report, TYPES } from "./report.mjs";

createEventSource({
  url: address,
  onMessage({ event, id, data }) {
    if (event && TYPES.includes(event)) report(event, id ?? "", data);
  },
});
