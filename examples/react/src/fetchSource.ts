/**
 * An EventSource over `fetch`, for what a native one can't do: send an `Authorization` header, and read the answer
 * when it is no stream.
 *
 * One connection, and no reconnecting of its own: it ends closed, and `openStream` makes the next one with a fresh
 * token.
 */

import type { Refusal, Source } from "./stream-client.js";

const LINE_CHARS_MAX = 8 * 1024 * 1024;

/** A token, or where to get a fresh one: it is asked again at each connection. */
export type Token = string | (() => string | Promise<string>);

/** Opens `address` with the token in its header. */
export function fetchSource(address: string, token: Token, credentials: RequestCredentials = "same-origin"): Source {
  const target = new EventTarget();
  const ending = new AbortController();
  let readyState = 0;
  let closed = false;
  let refusal: Refusal | null = null;
  let retryMs: number | null = null;

  const emit = (type: string, data: string, lastEventId: string) =>
    target.dispatchEvent(new MessageEvent(type, { data, lastEventId }));

  async function run() {
    try {
      const secret = typeof token === "string" ? token : await token();
      const headers = { Accept: "text/event-stream", Authorization: `Bearer ${secret}` };
      const answer = await fetch(address, { headers, credentials, signal: ending.signal, cache: "no-store" });
      if (closed) return;
      const type = answer.headers.get("content-type") ?? "";
      if (answer.status !== 200 || !type.startsWith("text/event-stream") || !answer.body) {
        const body = await answer.json().catch(() => ({}));
        refusal = { status: answer.status, error: body?.error ?? "", message: body?.message ?? "" };
        return;
      }
      readyState = 1;
      const parser = eventParser(emit, (ms) => (retryMs = ms));
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done && !closed; part = await reader.read()) {
        parser(part.value);
      }
    } catch {
      // Lost, or ended by `close`: told below, where there is anyone to tell.
    } finally {
      ending.abort();
      readyState = 2;
      if (!closed) target.dispatchEvent(new Event("error"));
    }
  }
  void run();

  return {
    addEventListener: target.addEventListener.bind(target),
    close() {
      closed = true;
      readyState = 2;
      ending.abort();
    },
    get readyState() {
      return readyState;
    },
    get refusal() {
      return refusal;
    },
    get retryMs() {
      return retryMs;
    },
  };
}

/** Takes the text of a stream in any pieces and emits its events, and its `retry:` times, as the HTML standard says. */
export function eventParser(
  emit: (type: string, data: string, lastEventId: string) => void,
  emitRetry: (ms: number) => void = () => {},
) {
  let rest = "";
  let started = false;
  let skipLineFeed = false;
  let type = "";
  let data: string[] = [];
  let id = "";
  let lastEventId = "";

  function line(text: string) {
    if (text === "") {
      lastEventId = id;
      const event = { type: type || "message", data };
      type = "";
      data = [];
      if (event.data.length > 0) emit(event.type, event.data.join("\n"), lastEventId);
      return;
    }
    const colon = text.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(text[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") type = value;
    else if (field === "data") data.push(value);
    else if (field === "id" && !value.includes("\0")) id = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) emitRetry(Number(value));
  }

  return (part: string) => {
    if (!started && part !== "") {
      started = true;
      if (part.startsWith("\uFEFF")) part = part.slice(1);
    }
    // A CR ends a line at once, so that an event isn't held back until the next one's first byte.
    if (skipLineFeed && part !== "") {
      skipLineFeed = false;
      if (part.startsWith("\n")) part = part.slice(1);
    }
    rest += part;
    let from = 0;
    for (const match of rest.matchAll(/\r\n|\r|\n/g)) {
      line(rest.slice(from, match.index));
      from = match.index + match[0].length;
    }
    skipLineFeed = rest.endsWith("\r");
    rest = rest.slice(from);
    if (rest.length > LINE_CHARS_MAX) throw new Error("a line of the stream is longer than any the host sends");
  };
}
