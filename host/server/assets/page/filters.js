// @ts-check
/** The switches of the companies' filters: asks the server which there are, and moves one in or out of its chain. */

const ASK_EVERY_MS = 5_000;
const ANSWER_MS_MAX = 10_000;

/**
 * @typedef {object} Filter
 * @property {string} company
 * @property {string} name Its file's name in the company's folder, such as `20-threshold`.
 * @property {string} title What it does, for people.
 * @property {boolean} on
 */

export class Filters {
  /** @param {(company: string, text: string) => void} onSwitched Called when the server has switched a filter. */
  constructor(onSwitched) {
    this.onSwitched = onSwitched;
    /** @type {Filter[] | null} `null`: not known yet. */
    this.known = null;
    /** @type {Set<string>} */
    this.pending = new Set();
    /** @type {Map<string, HTMLElement>} The panel of each shown company. */
    this.panels = new Map();
    this.failure = "";
  }

  /** Asks now, and again from time to time: another visitor may use the switches, too. */
  start() {
    void this.#ask();
    window.setInterval(() => {
      if (!document.hidden && this.pending.size === 0) void this.#ask();
    }, ASK_EVERY_MS);
  }

  /**
   * @param {string} company
   * @param {HTMLElement} panel
   */
  attach(company, panel) {
    this.panels.set(company, panel);
    this.#draw(company);
  }

  /** @param {string} company */
  detach(company) {
    this.panels.delete(company);
  }

  async #ask() {
    try {
      const answer = await call("demo/filters", {});
      const list = await answer.json();
      if (!Array.isArray(list)) throw new Error("the answer is no list");
      this.known = list;
      this.failure = "";
    } catch (error) {
      this.failure = `The list of filters can't be read: ${reason(error)}.`;
    }
    this.#drawAll();
  }

  /** @param {Filter} filter */
  async #toggle(filter) {
    const key = `${filter.company}/${filter.name}`;
    if (this.pending.has(key)) return;
    const on = !filter.on;
    this.pending.add(key);
    this.#draw(filter.company);
    try {
      const path = `demo/filters/${encodeURIComponent(filter.company)}/${encodeURIComponent(filter.name)}`;
      await call(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ on }),
      });
      this.failure = "";
      this.onSwitched(filter.company, `${filter.title} switched ${on ? "on" : "off"}`);
      await this.#ask();
    } catch (error) {
      this.failure = `${filter.title} was not switched: ${reason(error)}.`;
    } finally {
      this.pending.delete(key);
      this.#drawAll();
    }
  }

  #drawAll() {
    for (const company of this.panels.keys()) this.#draw(company);
  }

  /** @param {string} company */
  #draw(company) {
    const panel = this.panels.get(company);
    if (!panel) return;
    const list = /** @type {HTMLElement} */ (panel.querySelector(".filters"));
    const filters = (this.known ?? []).filter((filter) => filter.company === company);
    const shown = new Set(filters.map((filter) => filter.name));
    // Elements stay the same ones, so that the keyboard's focus stays where it is.
    for (const row of list.querySelectorAll("li")) {
      if (!shown.has(row.dataset.filter ?? "")) row.remove();
    }
    for (const filter of filters) {
      const selector = `[data-filter="${CSS.escape(filter.name)}"]`;
      const row = list.querySelector(selector) ?? this.#row(list, filter);
      const button = /** @type {HTMLElement} */ (row.querySelector(".switch"));
      button.setAttribute("aria-checked", String(filter.on));
      button.setAttribute("aria-disabled", String(this.pending.has(`${company}/${filter.name}`)));
    }
    const note = /** @type {HTMLElement} */ (panel.querySelector(".filters-note"));
    const text = this.failure || (this.known && filters.length === 0 ? "No filters of its own." : "");
    if (note.textContent !== text) note.textContent = text;
    note.toggleAttribute("data-bad", this.failure !== "");
  }

  /**
   * @param {HTMLElement} list
   * @param {Filter} filter
   */
  #row(list, filter) {
    const row = document.createElement("li");
    row.dataset.filter = filter.name;
    const label = document.createElement("span");
    const title = document.createElement("span");
    title.textContent = filter.title || filter.name;
    title.id = `filter-${filter.company}-${filter.name}`;
    const name = document.createElement("code");
    name.textContent = filter.name;
    label.append(title, name);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "switch";
    button.setAttribute("role", "switch");
    button.setAttribute("aria-labelledby", title.id);
    button.addEventListener("click", () => {
      const now = this.known?.find((one) => one.company === filter.company && one.name === filter.name);
      if (now) void this.#toggle(now);
    });
    row.append(label, button);
    list.append(row);
    return row;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} init
 */
async function call(path, init) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS_MAX), ...init });
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Error(body.message || `the server answered ${answer.status}`);
}

/** @param {unknown} error */
function reason(error) {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return "no answer in time";
  return error instanceof TypeError ? "the server can't be reached" : error.message;
}
