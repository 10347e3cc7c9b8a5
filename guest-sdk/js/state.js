// What a filter remembers for its company: keys and values, committed together with what it emits. A filter that does
// not import this file keeps nothing, and its cases may run in any order. Platform filters have no state.
import * as host from "tidegate:filter/state@2.0.0";
import { bytesOf } from "./tidegate.js";

const decoder = new TextDecoder();

/** The bytes of a key; undefined where there is no such key. */
export function get(key) {
  return host.get(key);
}

/** The text of a key; undefined where there is no such key. */
export function getText(key) {
  const value = host.get(key);
  return value === undefined ? undefined : decoder.decode(value);
}

/** The value of a key that was kept as JSON; undefined where there is no such key. */
export function getJson(key) {
  const text = getText(key);
  return text === undefined ? undefined : JSON.parse(text);
}

/** Sets a key to bytes or text. Throws where it would exceed the quota; nothing is written then. */
export function set(key, value) {
  try {
    host.set(key, bytesOf(value));
  } catch (problem) {
    throw new Error(problem.payload ?? problem.message ?? String(problem));
  }
}

/** Sets a key to a value as JSON. */
export function setJson(key, value) {
  set(key, JSON.stringify(value));
}

/** Removes a key, if it is there. */
export function remove(key) {
  host["delete"](key);
}

/** Keys that start with `prefix` and their bytes, as `[key, value]`, in the order of the keys, at most `limit` of them. */
export function scan(prefix, limit) {
  return host.scan(prefix, limit).map(({ key, value }) => [key, value]);
}
