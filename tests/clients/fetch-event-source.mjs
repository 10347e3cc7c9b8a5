// @ts-check
/** npm `@microsoft/fetch-event-source`: it is closed by a clean end unless `onclose` throws, as its users know. */

import { address, report, TYPES } from "./report.mjs";

// It asks a page whether it is hidden.
Object.assign(globalThis, {
  window: globalThis,
  document: { hidden: false, addEventListener() {}, removeEventListener() {} },
});
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

const AGAIN_MS = 200;
await fetchEventSource(address, {
  openWhenHidden: true,
  onmessage({ event, id, data }) {
    if (TYPES.includes(event)) report(event, id, data);
  },
  onclose() {
    throw new Error("ended: come back");
  },
  onerror() {
    return AGAIN_MS;
  },
});
