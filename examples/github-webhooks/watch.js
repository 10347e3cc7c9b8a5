// @ts-check
/** Shows one company's webhooks. `?server=http://127.0.0.1:3007&companyId=octocat&types=push,issues_opened` says which. */

import { openStream } from "../browser/stream-client.js";

const ROWS_MAX = 100;
const query = new URLSearchParams(location.search);
const company = query.get("companyId") ?? "octocat";
const state = /** @type {HTMLElement} */ (document.getElementById("state"));
const gapNote = /** @type {HTMLElement} */ (document.getElementById("gap"));
const rows = /** @type {HTMLTableSectionElement} */ (document.getElementById("events"));
/** @type {HTMLElement} */ (document.getElementById("company")).textContent = company;

const stream = openStream({
  url: new URL("/stream/updates", query.get("server") ?? "http://127.0.0.1:3007").href,
  companyId: company,
  // A browser hears only the types that it names.
  types: (query.get("types") ?? "push").split(","),
  // From the beginning the first time, after the last id when the page is loaded again.
  storage: { getItem: (key) => sessionStorage.getItem(key) ?? "earliest", setItem: (key, id) => sessionStorage.setItem(key, id) },
  onEvent({ id, type, data }) {
    const row = rows.insertRow(0);
    row.dataset.id = id;
    row.insertCell().append(data?.url ? link(data.url, type) : type);
    // A session has no title, but stages.
    const about = data?.title ?? data?.stages?.map((/** @type {{ stage: string }} */ { stage }) => stage).join(" → ");
    const title = [data?.number && `#${data.number}`, about].filter(Boolean).join(" ");
    for (const cell of [data?.repository, title, data?.state, data?.sender]) row.insertCell().textContent = cell ?? "";
    if (rows.rows.length > ROWS_MAX) rows.deleteRow(-1);
  },
  onGap({ missed, reason }) {
    gapNote.textContent = `${missed ?? "An unknown number of"} events missed (${reason}).`;
    gapNote.hidden = false;
  },
  onState(name, { reason }) {
    state.textContent = reason ? `${name} (${reason})` : name;
  },
});
addEventListener("pagehide", ({ persisted }) => persisted || stream.close());

/**
 * @param {string} address The filter lets only web addresses pass.
 * @param {string} text
 */
function link(address, text) {
  const anchor = Object.assign(document.createElement("a"), { href: address, textContent: text, rel: "noreferrer" });
  return anchor;
}
