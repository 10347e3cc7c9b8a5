// The filter of the conformance suite, in JavaScript: the header `do` says what becomes of an event.
import * as log from "./tidegate-guest/js/log.js";
import * as state from "./tidegate-guest/js/state.js";
import { bytesOf, drop, emit, error, pass } from "./tidegate-guest/js/tidegate.js";

export const filter = { name: "conformance", version: "1.0.0", stateVersion: 1 };

let tag;
let most;

export function init(config) {
  tag = "none";
  most = 3;
  for (const [key, value] of Object.entries(config)) {
    if (key === "tag") {
      if (typeof value !== "string") throw new Error("configuration: `tag` must be text");
      tag = value;
    } else if (key === "most") {
      const fits = Number.isInteger(value) && value >= 0 && value <= 100;
      if (!fits) throw new Error("configuration: `most` must be a whole number from 0 to 100");
      most = value;
    } else {
      throw new Error(`configuration: unknown field \`${key}\``);
    }
  }
}

const joined = (...parts) => {
  const all = parts.map(bytesOf);
  const data = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of all) {
    data.set(part, at);
    at += part.length;
  }
  return data;
};

const lines = (data) => {
  const found = [];
  for (let from = 0; from <= data.length; ) {
    const next = data.indexOf(10, from);
    const end = next < 0 ? data.length : next;
    if (end > from) found.push(data.subarray(from, end));
    from = end + 1;
  }
  return found;
};

const does = {
  pass,
  keep: (event) => (event.payload.length === 0 ? error("empty") : emit("", event.payload.subarray(1))),
  map(event) {
    const { subject, sequence, timeMs: time, company, type, payload } = event;
    const value = { subject, sequence, time, company, type, bytes: payload.length, tag };
    return emit("mapped", `map ${JSON.stringify(value)}`);
  },
  drop: (event) => drop(event.header("reason")),
  error: (event) => error(event.header("text") ?? "no text"),
  split(event) {
    const found = lines(event.payload);
    return found.length > most ? error(`more than ${most} lines`) : found.map((line) => emit("line", line));
  },
  several: (event) => [emit("a", event.payload), emit("", event.payload), emit("b", "")],
  nothing: () => [],
  json(event) {
    let value;
    try {
      value = event.json();
    } catch {
      return error("not JSON");
    }
    const name = value?.user?.name;
    return typeof name === "string" ? emit("name", name) : error("no /user/name");
  },
  headers: (event) => emit("headers", event.headers.map(([name, value]) => `${name}=${value};`).join("")),
  echo: (event) => emit(event.header("type") ?? "", joined(event.payload, tag)),
  hex: (event) => emit("hex", Array.from(event.payload, (byte) => byte.toString(16).padStart(2, "0")).join("")),
  reverse(event) {
    try {
      return emit("reversed", [...event.text()].reverse().join(""));
    } catch {
      return error("no UTF-8");
    }
  },
  count(event) {
    const key = `count/${event.subject}`;
    const next = (state.getJson(key) ?? 0) + 1;
    state.setJson(key, next);
    return emit("count", String(next));
  },
  forget(event) {
    state.remove(`count/${event.subject}`);
    return emit("forgotten", "");
  },
  list: () => emit("list", joined(...state.scan("count/", most).flatMap(([key, value]) => [key, "=", value, ";"]))),
  put(event) {
    state.set(event.header("key") ?? "", event.payload);
    return drop("put");
  },
  peek(event) {
    const value = state.get(event.header("key") ?? "");
    return value === undefined ? drop("nothing kept") : emit("kept", value);
  },
  log(event) {
    log.info(new TextDecoder().decode(event.payload));
    log.warn(tag);
    return drop("logged");
  },
};

export function process(event) {
  const what = event.header("do") ?? "";
  if (what === "") return drop();
  return Object.hasOwn(does, what) ? does[what](event) : error(`unknown: ${what}`);
}
