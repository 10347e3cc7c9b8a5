// @ts-check
/** npm `eventsource`: the browser's interface in Node. */

import { EventSource } from "eventsource";
import { address, report, TYPES } from "./report.mjs";

const source = new EventSource(address);
for (const type of TYPES) {
  source.addEventListener(type, (event) => report(type, event.lastEventId, event.data));
}

// It lets the process end while it waits to come back; whoever follows a stream keeps it alive.
const KEPT_MS = 3_600_000;
setInterval(() => {}, KEPT_MS);
