// @ts-check
/** The demo's page: one stream and one panel for each shown company, and the switches of their filters. */

import { openStream } from "./stream-client.js";
import { Company } from "./company.js";
import { Panel } from "./panel.js";
import { Filters } from "./filters.js";

// Three at most: over HTTP/1.1 a browser has six connections for a server, over all its tabs.
const COMPANIES = ["company-a", "company-b", "company-c"];
const HIDDEN_MS_MAX = 15_000;
const SHOWN_KEY = "tidegate:shown";

/** @typedef {{company: Company, panel: Panel, stream: import("./stream-client.js").Stream | null}} Shown */

/** @type {Map<string, Shown>} */
const shown = new Map();
const main = /** @type {HTMLElement} */ (document.getElementById("companies"));
const filters = new Filters((id, text) => {
  const one = shown.get(id);
  one?.company.note(text);
  one?.panel.changed();
});

/** @param {string} id */
function show(id) {
  const company = Company.read(id, recall(`tidegate:company:${id}`));
  const panel = new Panel(company);
  /** @type {Shown} */
  const one = { company, panel, stream: null };
  shown.set(id, one);
  // Panels keep the order of the list, whatever order they are chosen in.
  const after = COMPANIES.slice(COMPANIES.indexOf(id) + 1).find((next) => shown.has(next));
  main.insertBefore(panel.element, after ? shown.get(after)?.panel.element ?? null : null);
  filters.attach(id, panel.element);
  panel.changed();
  start(one);
}

/** @param {Shown} one */
function start(one) {
  const { company, panel } = one;
  one.stream = openStream({
    url: "stream/updates",
    companyId: company.id,
    storage: sessionStorageOrNull(),
    onEvent(event) {
      company.take(event, Date.now());
      panel.changed();
    },
    onGap(gap) {
      company.takeGap(gap);
      panel.showGap(gap);
      panel.changed();
    },
    onState: (state, detail) => panel.showState(state, detail),
  });
}

/** @param {string} id */
function hide(id) {
  const one = shown.get(id);
  if (!one) return;
  one.stream?.close();
  save(one);
  filters.detach(id);
  one.panel.remove();
  shown.delete(id);
}

/** @param {Shown} one */
function save(one) {
  try {
    // Beside the stream's place, which is kept event by event: both are of the same moment.
    sessionStorage.setItem(`tidegate:company:${one.company.id}`, one.company.write());
  } catch {
    // Storage is switched off or full: a reload starts with empty panels.
  }
}

/** @param {string} key */
function recall(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

function sessionStorageOrNull() {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}

function buildPicker() {
  const picker = /** @type {HTMLElement} */ (document.getElementById("picker"));
  const chosen = (recall(SHOWN_KEY) ?? COMPANIES.join(",")).split(",");
  for (const id of COMPANIES) {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = id;
    box.checked = chosen.includes(id);
    box.addEventListener("change", () => {
      if (box.checked) show(id);
      else hide(id);
      try {
        sessionStorage.setItem(SHOWN_KEY, [...shown.keys()].join(","));
      } catch {
        // As in `save`.
      }
    });
    const label = document.createElement("label");
    label.append(box, id);
    picker.append(label);
    if (box.checked) show(id);
  }
}

// A hidden tab gives its connections back, so that other tabs have some, and catches up when it is looked at again.
let hiddenTimer = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    hiddenTimer = window.setTimeout(pause, HIDDEN_MS_MAX);
    return;
  }
  for (const one of shown.values()) if (!one.stream) start(one);
});

function pause() {
  for (const one of shown.values()) {
    one.stream?.close();
    one.stream = null;
    one.panel.showState("paused", {});
  }
}

window.addEventListener("pagehide", () => {
  for (const one of shown.values()) save(one);
});

buildPicker();
filters.start();
window.setInterval(() => {
  const now = Date.now();
  for (const { panel, stream } of shown.values()) panel.tick(stream, now);
}, 500);
