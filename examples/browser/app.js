// @ts-check
/** Shows one company's stream. The address may choose it: `?server=http://127.0.0.1:3007&companyId=company-a`. */

import { openStream } from "./stream-client.js";

const ROWS_MAX = 200;
const query = new URLSearchParams(location.search);
const form = /** @type {HTMLFormElement} */ (document.getElementById("choice"));
const state = /** @type {HTMLElement} */ (document.getElementById("state"));
const gapNote = /** @type {HTMLElement} */ (document.getElementById("gap"));
const rows = /** @type {HTMLTableSectionElement} */ (document.getElementById("events"));
const server = /** @type {HTMLInputElement} */ (form.elements.namedItem("server"));
const company = /** @type {HTMLInputElement} */ (form.elements.namedItem("company"));

/** @type {import("./stream-client.js").Stream | null} */
let stream = null;

function open() {
  stream?.close();
  rows.replaceChildren();
  gapNote.hidden = true;
  stream = openStream({
    url: new URL("/stream/updates", server.value).href,
    companyId: company.value,
    // sessionStorage: each tab has its own place. A reload goes on after the last id, a new tab starts live.
    storage: sessionStorage,
    onEvent({ id, type, text }) {
      const row = rows.insertRow(0);
      row.dataset.id = id;
      for (const cell of [id, type, text]) row.insertCell().textContent = cell;
      if (rows.rows.length > ROWS_MAX) rows.deleteRow(-1);
    },
    onGap({ missed, reason }) {
      gapNote.textContent = `${missed ?? "An unknown number of"} events missed (${reason}).`;
      gapNote.hidden = false;
    },
    onState(name, { reason, refusal }) {
      const why = refusal ? `${refusal.status} ${refusal.message}` : reason;
      state.textContent = why ? `${name} (${why})` : name;
    },
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const address = new URL(location.href);
  address.searchParams.set("server", server.value);
  address.searchParams.set("companyId", company.value);
  history.replaceState(null, "", address);
  open();
});

server.value = query.get("server") ?? "http://127.0.0.1:3007";
company.value = query.get("companyId") ?? "company-a";
open();
