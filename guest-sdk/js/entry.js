// The filter world's three exports over the author's functions: one output buffer for a batch.
import { write } from "tidegate:filter/log@2.0.0";
import { Event } from "./tidegate-guest/js/tidegate.js";
import * as own from "./filter.js";

const EMPTY = { offset: 0, length: 0 };
const encoder = new TextEncoder();

export function describe() {
  const { name = "", version = "", reads = [], emits = [], stateVersion = 0, configSchema } = own.filter ?? {};
  return { name, version, reads, emits, stateVersion, configSchema: configSchema ? JSON.stringify(configSchema) : "" };
}

export function init(config) {
  try {
    own.init?.(JSON.parse(config === "" ? "{}" : config));
  } catch (problem) {
    // The world's word for a refusal is a value, not an exception.
    throw said(problem);
  }
}

export function process(records, bytes) {
  const out = new Output(bytes);
  const verdicts = [];
  for (const record of records) {
    let answer;
    try {
      answer = own.process(new Event(record, bytes));
      verdicts.push(out.verdict(answer));
    } catch (problem) {
      if (problem instanceof Wrong) throw problem;
      verdicts.push({ kind: "error", text: out.text(said(problem)), emissions: 0 });
    }
  }
  return { verdicts, emissions: out.emissions, bytes: out.finish() };
}

/** An answer that is none: a fault of the filter's code, which ends the instance. */
class Wrong extends Error {}

function said(problem) {
  return String(problem?.message ?? problem);
}

function wrong(why) {
  write("error", why);
  return new Wrong(why);
}

class Output {
  emissions = [];
  #input;
  #bytes = new Uint8Array(1024);
  #length = 0;

  constructor(input) {
    this.#input = input;
  }

  verdict(answer) {
    const list = Array.isArray(answer) ? answer : [answer];
    if (list.length === 1 && (list[0]?.kind === "drop" || list[0]?.kind === "error")) {
      return { kind: list[0].kind, text: this.text(list[0].text), emissions: 0 };
    }
    for (const one of list) {
      if (one?.kind !== "emit") throw wrong("process returns pass, emit, drop or error, or a list of what emit makes");
    }
    for (const { type, data, companies } of list) {
      const inside = data.buffer === this.#input.buffer && data.length > 0;
      this.emissions.push({
        eventType: this.text(type),
        companies: this.text(companies),
        dataPlace: inside ? "input" : "output",
        data: inside
          ? { offset: data.byteOffset - this.#input.byteOffset, length: data.length }
          : this.#append(data),
      });
    }
    return { kind: "emit", text: EMPTY, emissions: list.length };
  }

  text(text) {
    return text === "" || text === undefined ? EMPTY : this.#append(encoder.encode(text));
  }

  #append(data) {
    if (data.length === 0) return EMPTY;
    const end = this.#length + data.length;
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(data, this.#length);
    const span = { offset: this.#length, length: data.length };
    this.#length = end;
    return span;
  }

  finish() {
    return this.#bytes.slice(0, this.#length);
  }
}
