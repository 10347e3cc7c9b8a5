// @ts-check
/** The native `EventSource` of a real Chromium, on a page of the origin that the host allows. */

import { launch, visit } from "../browser/lib/browser.mjs";
import { servePages } from "../browser/lib/pages.mjs";
import { address, report, TYPES } from "./report.mjs";

const pages = await servePages("browser");
const browser = await launch();
const { page } = await visit(browser, `${pages.origin}/spec-client.html?server=${pages.origin}&companyId=nobody`);
await page.exposeFunction("report", report);
await page.evaluate(
  ([address, types]) => {
    const source = new EventSource(address);
    for (const type of types) {
      source.addEventListener(type, (event) => {
        // @ts-expect-error It is the function of the line above.
        globalThis.report(type, event.lastEventId, event.data);
      });
    }
  },
  /** @type {[string, string[]]} */ ([address, TYPES]),
);
process.once("SIGTERM", async () => {
  await browser.close();
  await pages.close();
});
