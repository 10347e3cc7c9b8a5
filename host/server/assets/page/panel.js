// @ts-check
/** One company's panel: draws what the company and its stream say. Draws at most ten times a second. */

import { gapText } from "./company.js";

const DRAW_MS = 100;
const CONNECTING_MS_LONG = 5_000;
const NUMBERS = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3 });

/** @type {Record<string, string>} */
const STATES = {
  "connecting": "Connecting",
  "catching-up": "Catching up",
  "live": "Live",
  "reconnecting": "Reconnecting",
  "closed": "Closed",
  "paused": "Paused while this tab is hidden",
};

/** @type {Record<string, string>} */
const REASONS = {
  "connection-lost": "connection lost",
  "silent": "nothing heard for a minute",
  "drain": "the server is shutting down",
  "idle": "the server saw nobody",
  "rotate": "the server asked for a new connection",
  "token-expired": "the sign-in has expired",
  "overloaded": "the server is overloaded",
  "store-unavailable": "the replay cache is unreachable",
  "disabled": "streaming is switched off",
};

export class Panel {
  /** @param {import("./company.js").Company} company */
  constructor(company) {
    const template = /** @type {HTMLTemplateElement} */ (document.getElementById("panel"));
    const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
    this.company = company;
    this.element = /** @type {HTMLElement} */ (copy.firstElementChild);
    this.element.dataset.company = company.id;
    const title = this.#part("h2");
    title.textContent = company.id;
    title.id = `title-${company.id}`;
    this.element.setAttribute("aria-labelledby", title.id);
    this.#part(".gap button").addEventListener("click", () => (this.#part(".gap").hidden = true));
    /** @type {Map<string, {row: HTMLElement, value: HTMLElement, line: SVGElement}>} */
    this.metricRows = new Map();
    this.drawTimer = 0;
    this.drawAgain = false;
    this.connectingSinceMs = 0;
  }

  /**
   * @param {string} state A state of the stream, or `paused`.
   * @param {import("./stream-client.js").StateDetail} detail
   */
  showState(state, detail) {
    this.element.dataset.state = state;
    this.connectingSinceMs = state === "connecting" ? Date.now() : 0;
    let text = STATES[state] ?? state;
    if (detail.refusal) {
      const { status, message, error } = detail.refusal;
      text += `: refused with ${status}${message || error ? ` (${message || error})` : ""}`;
    } else if (detail.reason) {
      text += `: ${REASONS[detail.reason] ?? detail.reason}`;
    }
    if (detail.replayed) text += `, after ${detail.replayed} replayed`;
    this.#text(".state-text", text);
  }

  /** @param {import("./stream-client.js").Gap} gap */
  showGap(gap) {
    this.#part(".gap span").textContent = `${gapText(gap)}.`;
    this.#part(".gap").hidden = false;
  }

  /** Draws soon. */
  changed() {
    if (this.drawTimer) {
      this.drawAgain = true;
      return;
    }
    this.#draw();
    this.drawTimer = window.setTimeout(() => {
      this.drawTimer = 0;
      if (this.drawAgain) {
        this.drawAgain = false;
        this.changed();
      }
    }, DRAW_MS);
  }

  /**
   * @param {import("./stream-client.js").Stream | null} stream
   * @param {number} nowMs
   */
  tick(stream, nowMs) {
    // A seventh connection to one server waits without a word: say what may be the matter.
    if (this.connectingSinceMs && nowMs - this.connectingSinceMs > CONNECTING_MS_LONG) {
      this.#text(".state-text", "Connecting: no answer yet (or too many tabs are open on this server)");
    }
    const rate = this.company.rate(nowMs);
    this.#text(".rate", rate >= 10 ? Math.round(rate).toString() : rate.toFixed(1));
    const age = stream ? Math.max(0, Math.round((nowMs - stream.heardAtMs) / 1000)) : null;
    this.#text(".heard", age === null ? "–" : age < 1 ? "just now" : `${age} s ago`);
    this.#text(".connections", String(stream?.connections ?? 0));
    this.#text(".last-id code", stream?.lastEventId ?? "none yet");
  }

  remove() {
    clearTimeout(this.drawTimer);
    this.element.remove();
  }

  #draw() {
    this.#text(".total", this.company.total.toLocaleString());
    this.#drawMetrics();
    this.#drawFlags();
    this.#drawFeed();
  }

  #drawMetrics() {
    const list = this.#part(".metrics");
    for (const [name, { row }] of this.metricRows) {
      if (this.company.metrics.has(name)) continue;
      row.remove();
      this.metricRows.delete(name);
    }
    if (this.company.metrics.size === 0) {
      list.replaceChildren(item("empty none", "None yet"));
      return;
    }
    list.querySelector(".none")?.remove();
    for (const [name, { value, trend }] of this.company.metrics) {
      let parts = this.metricRows.get(name);
      if (!parts) {
        parts = metricRow(name);
        this.metricRows.set(name, parts);
        list.append(parts.row);
      }
      parts.value.textContent = typeof value === "number" ? NUMBERS.format(value) : value;
      parts.line.setAttribute("points", points(trend));
    }
  }

  #drawFlags() {
    const flags = [...this.company.flags].map(([name, { active }]) => {
      const flag = item("flag", `${name}: ${active ? "on" : "off"}`);
      flag.toggleAttribute("data-active", active);
      return flag;
    });
    this.#part(".flags").replaceChildren(...(flags.length ? flags : [item("empty", "None yet")]));
  }

  #drawFeed() {
    const rows = this.company.feed.map((row) => {
      const line = item(row.kind === "event" ? "" : "mark", "");
      line.dataset.kind = row.kind;
      line.title = row.id;
      if (row.kind === "event") {
        const type = document.createElement("span");
        type.className = "type";
        type.textContent = row.type;
        line.append(type, ` ${row.text}`);
      } else {
        line.textContent = row.text;
      }
      return line;
    });
    this.#part(".feed").replaceChildren(...(rows.length ? rows : [item("empty", "None yet")]));
  }

  /** @param {string} selector */
  #part(selector) {
    return /** @type {HTMLElement} */ (this.element.querySelector(selector));
  }

  /**
   * Status elements are read out whenever they change, so only real changes are made.
   * @param {string} selector
   * @param {string} text
   */
  #text(selector, text) {
    const part = this.#part(selector);
    if (part.textContent !== text) part.textContent = text;
  }
}

/**
 * @param {string} className
 * @param {string} text
 */
function item(className, text) {
  const element = document.createElement("li");
  element.className = className;
  element.textContent = text;
  return element;
}

/** @param {string} name */
function metricRow(name) {
  const row = item("", "");
  row.dataset.metric = name;
  const label = document.createElement("span");
  label.className = "name";
  label.textContent = name;
  label.title = name;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 60 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(line);
  const value = document.createElement("span");
  value.className = "value";
  row.append(label, svg, value);
  return { row, value, line };
}

/**
 * A trend as the points of a line in a box of 60 by 20.
 * @param {number[]} trend
 */
function points(trend) {
  const low = Math.min(...trend);
  const span = Math.max(...trend) - low || 1;
  const step = 60 / Math.max(1, trend.length - 1);
  const point = (/** @type {number} */ value, /** @type {number} */ n) =>
    `${(n * step).toFixed(1)},${(19 - ((value - low) / span) * 18).toFixed(1)}`;
  return trend.map(point).join(" ");
}
