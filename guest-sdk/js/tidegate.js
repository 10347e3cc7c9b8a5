// A Tidegate filter in JavaScript: a function that sees one event and says what becomes of it.
//
//     import { pass } from "./tidegate-guest/js/tidegate.js";
//     export const filter = { name: "only-high", version: "0.1.0" };
//     export function process(event) { return pass(event); }
//
// Nothing here needs a host: a filter's functions can be called by `node --test`, too.

const decoder = new TextDecoder();
const strict = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/** One event. What it hands out is read when it is asked for. */
export class Event {
  #record;
  #bytes;

  /** @param {object} record positions in `bytes` @param {Uint8Array} bytes */
  constructor(record, bytes) {
    this.#record = record;
    this.#bytes = bytes;
  }

  /** An event for tests: `Event.of({ subject, payload, … })`; the payload is bytes, text, or a value for JSON. */
  static of({ subject = "test", payload = "", sequence = 1, timeMs = 0, headers = {}, company = "company", type = "event" }) {
    const parts = [];
    let length = 0;
    const put = (data) => {
      const span = { offset: length, length: data.length };
      parts.push(data);
      length += data.length;
      return span;
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\n`);
    const data = ArrayBuffer.isView(payload) || typeof payload === "string" ? payload : JSON.stringify(payload);
    const record = {
      subject: put(encoder.encode(subject)),
      headers: put(encoder.encode(lines.join(""))),
      company: put(encoder.encode(company)),
      eventType: put(encoder.encode(type)),
      payload: put(bytesOf(data)),
      sequence,
      timeMs,
    };
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return new Event(record, bytes);
  }

  #slice({ offset, length }) {
    return this.#bytes.subarray(offset, offset + length);
  }

  #text(span) {
    return span.length === 0 ? "" : decoder.decode(this.#slice(span));
  }

  /** The subject it was published on, such as `metrics.calculated`. */
  get subject() {
    return this.#text(this.#record.subject);
  }

  /** Its sequence in the source (exact up to 2^53). */
  get sequence() {
    return Number(this.#record.sequence);
  }

  /** Its time in the source, in milliseconds since 1970: the only clock a filter has. */
  get timeMs() {
    return Number(this.#record.timeMs);
  }

  /** The company; empty in a platform filter until one has decided it. */
  get company() {
    return this.#text(this.#record.company);
  }

  /** The event type; empty until a filter has decided it. */
  get type() {
    return this.#text(this.#record.eventType);
  }

  /** The payload: any bytes. A part of it, made with `subarray`, is passed on without a copy. */
  get payload() {
    return this.#slice(this.#record.payload);
  }

  /** All headers in their order, as `[name, value]`. */
  get headers() {
    const pairs = [];
    for (const line of this.#text(this.#record.headers).split("\n")) {
      const colon = line.indexOf(":");
      if (colon >= 0) pairs.push([line.slice(0, colon).trim(), line.slice(colon + 1).trim()]);
    }
    return pairs;
  }

  /** The first header of that name, whatever its case; undefined where there is none. */
  header(name) {
    const wanted = name.toLowerCase();
    return this.headers.find(([other]) => other.toLowerCase() === wanted)?.[1];
  }

  /** The payload as text. Throws where it is no UTF-8. */
  text() {
    try {
      return strict.decode(this.payload);
    } catch {
      throw new Error(`the payload is no UTF-8 (${this.subject}, sequence ${this.sequence})`);
    }
  }

  /** The payload as JSON. Throws where it is none. */
  json() {
    const text = this.text();
    try {
      return JSON.parse(text);
    } catch (problem) {
      throw new Error(`not JSON: ${problem.message} (${this.subject}, sequence ${this.sequence})`);
    }
  }
}

/** Passed on unchanged, with its own type. */
export function pass(event) {
  return emit("", event.payload);
}

/** Passed on with this type and data, bytes or text; an empty type keeps the event's own. For several return a list. */
export function emit(type, data) {
  return { kind: "emit", type, data: bytesOf(data), companies: "" };
}

/** Passed on with this type and a value as JSON. */
export function emitJson(type, value) {
  return emit(type, JSON.stringify(value));
}

/** For platform filters: the companies that an emission goes to. */
export function toCompanies(emission, ...companies) {
  return { ...emission, companies: companies.join(",") };
}

/** Not passed on; the reason is for those who ask what became of the event. */
export function drop(reason = "") {
  return { kind: "drop", text: reason };
}

/** Can't be handled: a dead letter with this text, unless the deployer chose otherwise. What a filter throws is the same. */
export function error(text) {
  return { kind: "error", text: String(text) };
}

/** Text as UTF-8; bytes as they are. */
export function bytesOf(data) {
  if (typeof data === "string") return encoder.encode(data);
  // What the host hands out is of another realm: `instanceof` knows it not.
  if (ArrayBuffer.isView(data)) return data;
  throw new TypeError("data is bytes (Uint8Array) or text; emitJson takes values");
}
