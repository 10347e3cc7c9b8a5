// @ts-check
/**
 * What the page knows of one company: its newest values, flags, counts and the feed. Knows nothing of the document.
 *
 * It can be written to and read from session storage beside the stream's place, so that a reload shows the values it
 * showed before and the stream goes on after the last of them.
 */

const FEED_MAX = 12;
const TREND_MAX = 60;
const METRICS_MAX = 24;
const FLAGS_MAX = 40;
const RATE_SECONDS = 10;

/**
 * @typedef {object} Row One line of the feed.
 * @property {"event" | "gap" | "note"} kind
 * @property {string} type
 * @property {string} text
 * @property {string} id
 */

export class Company {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.total = 0;
    /** @type {Map<string, {value: number | string, trend: number[]}>} */
    this.metrics = new Map();
    /** @type {Map<string, {active: boolean}>} */
    this.flags = new Map();
    /** @type {Row[]} Newest first. */
    this.feed = [];
    /** Events in each of the last seconds, by second modulo the window. */
    this.seconds = new Array(RATE_SECONDS).fill(0);
    this.second = 0;
  }

  /**
   * @param {import("./stream-client.js").StreamEvent} event
   * @param {number} nowMs
   */
  take(event, nowMs) {
    this.total += 1;
    this.#advance(nowMs);
    this.seconds[this.second % RATE_SECONDS] += 1;
    const data = event.data && typeof event.data === "object" ? event.data : {};
    if (event.type === "journey_flag_updated") this.#takeFlag(data);
    else this.#takeMetric(event.type, data);
    this.#line({ kind: "event", type: event.type, text: summary(data, event.text), id: event.id });
  }

  /** @param {import("./stream-client.js").Gap} gap */
  takeGap(gap) {
    this.#line({ kind: "gap", type: "gap", text: gapText(gap), id: gap.to ?? "" });
  }

  /** @param {string} text */
  note(text) {
    this.#line({ kind: "note", type: "", text, id: "" });
  }

  /**
   * Events per second over the last whole seconds.
   * @param {number} nowMs
   */
  rate(nowMs) {
    this.#advance(nowMs);
    const running = this.seconds[this.second % RATE_SECONDS];
    const sum = this.seconds.reduce((all, one) => all + one, 0);
    return (sum - running) / (RATE_SECONDS - 1);
  }

  /** @param {number} nowMs */
  #advance(nowMs) {
    const second = Math.floor(nowMs / 1000);
    if (second === this.second) return;
    const passed = second < this.second ? RATE_SECONDS : Math.min(RATE_SECONDS, second - this.second);
    for (let n = 0; n < passed; n += 1) this.seconds[(second - n) % RATE_SECONDS] = 0;
    this.second = second;
  }

  /** @param {Record<string, any>} data */
  #takeFlag(data) {
    bounded(this.flags, String(data.flag ?? "unnamed flag"), { active: data.active === true }, FLAGS_MAX);
  }

  /**
   * @param {string} type
   * @param {Record<string, any>} data
   */
  #takeMetric(type, data) {
    const name = String(data.metricName ?? data.name ?? type.replace(/_updated$/, ""));
    const value = data.value ?? Object.values(data).find((field) => typeof field === "number");
    if (value === undefined || value === null) return;
    const trend = this.metrics.get(name)?.trend ?? [];
    if (typeof value === "number") trend.push(value);
    if (trend.length > TREND_MAX) trend.shift();
    bounded(this.metrics, name, { value: typeof value === "number" ? value : String(value), trend }, METRICS_MAX);
  }

  /** @param {Row} row */
  #line(row) {
    this.feed.unshift(row);
    if (this.feed.length > FEED_MAX) this.feed.pop();
  }

  /** @returns {string} */
  write() {
    return JSON.stringify({
      total: this.total,
      metrics: [...this.metrics],
      flags: [...this.flags],
      feed: this.feed,
    });
  }

  /**
   * @param {string} id
   * @param {string | null} text What `write` gave, or anything at all.
   * @returns {Company}
   */
  static read(id, text) {
    const company = new Company(id);
    try {
      const { total, metrics, flags, feed } = JSON.parse(text ?? "{}");
      if (!Number.isSafeInteger(total) || !Array.isArray(feed)) return company;
      company.metrics = new Map(metrics);
      company.flags = new Map(flags);
      company.feed = feed;
      company.total = total;
    } catch {
      return new Company(id); // Written by another version of this page, or by hand.
    }
    return company;
  }
}

/** @param {import("./stream-client.js").Gap} gap */
export function gapText(gap) {
  const count = gap.missed === null ? "An unknown number of events" : gap.missed === 1 ? "1 event" : `${gap.missed} events`;
  return `${count} missed: ${REASONS[gap.reason] ?? gap.reason}`;
}

/** @type {Record<string, string>} */
const REASONS = {
  "trimmed": "older than the replay cache keeps (trimmed)",
  "unknown-cursor": "the server does not know where this page stood (unknown-cursor)",
  "source-lost": "the source lost them before the server read them (source-lost)",
  "overflow": "this page read too slowly (overflow)",
  "store-lost": "the replay cache was lost (store-lost)",
};

/**
 * Sets a key and forgets the oldest beyond the bound. A key that is set again keeps its place.
 * @template V
 * @param {Map<string, V>} map
 * @param {string} key
 * @param {V} value
 * @param {number} max
 */
function bounded(map, key, value, max) {
  map.set(key, value);
  if (map.size > max) map.delete(/** @type {string} */ (map.keys().next().value));
}

/**
 * One line about an event: what it is about first, then the rest.
 * @param {Record<string, any>} data
 * @param {string} text
 */
function summary(data, text) {
  // The company is the panel's, and `at` is the publisher's clock in milliseconds: neither says anything in a line.
  const { companyId: _, at: __, metricName, flag, value, active, ...rest } = data;
  const parts = [];
  if (metricName !== undefined || value !== undefined) parts.push([metricName, shown(value)].filter(Boolean).join(" "));
  if (flag !== undefined) parts.push(`${flag} ${active ? "on" : "off"}`);
  for (const [name, field] of Object.entries(rest)) parts.push(`${name} ${shown(field)}`);
  return (parts.length ? parts.join(", ") : text).slice(0, 200);
}

/** @param {unknown} field */
function shown(field) {
  if (typeof field === "number") return String(Number(field.toPrecision(6)));
  return field === undefined ? "" : typeof field === "object" ? JSON.stringify(field) : String(field);
}
