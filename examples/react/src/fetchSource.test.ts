import { afterEach, expect, test, vi } from "vitest";
import { eventParser, fetchSource } from "./fetchSource";
import { openStream, type StateDetail } from "./stream-client.js";

afterEach(() => vi.unstubAllGlobals());

function parsed(parts: Iterable<string>) {
  const events: string[][] = [];
  const take = eventParser((type, data, id) => events.push([type, data, id]));
  for (const part of parts) take(part);
  return events;
}

const STREAM = [
  ":heartbeat\nevent: heartbeat\ndata: {\"t\":1}\nid: at-1-1\n\n",
  "event: metric_updated\r\ndata: {\"a\":\r\ndata: 1}\r\nid: m-2-1\r\n\r\n",
  "data:bare\rdata\r\r",
  "retry: 10\nid: m-3-1\n\n",
  "event: bye\ndata: {}\n\n",
  "event: cut\ndata: short",
].join("");

test("events come out alike, however the stream is cut into pieces", () => {
  const expected = [
    ["heartbeat", '{"t":1}', "at-1-1"],
    ["metric_updated", '{"a":\n1}', "m-2-1"],
    ["message", "bare\n", "m-2-1"],
    ["bye", "{}", "m-3-1"],
  ];
  expect(parsed([STREAM])).toEqual(expected);
  expect(parsed(STREAM)).toEqual(expected);
  for (let at = 0; at < STREAM.length; at += 1) {
    expect(parsed([STREAM.slice(0, at), STREAM.slice(at)])).toEqual(expected);
  }
});

test("a time to come back is told where it is one", () => {
  const times: number[] = [];
  const take = eventParser(
    () => {},
    (ms) => times.push(ms),
  );
  for (const part of "retry: 3127\nretry: soon\nretry:\nretry: -1\nretry:7\n\n") take(part);
  expect(times).toEqual([3127, 7]);
});

test("a stream that the host ends is opened again no sooner than it asked for", async () => {
  const headers = { "Content-Type": "text/event-stream" };
  const ended = 'event: ready\ndata: {}\nid: at-1-1\n\nretry: 9127\nevent: bye\ndata: {"reason":"drain"}\n\n';
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(ended, { headers })));
  const told = await new Promise<StateDetail>((reconnecting) => {
    const stream = openStream({
      url: "http://host.test/",
      companyId: "a",
      connect: (address) => fetchSource(address, "secret"),
      onState: (state, detail) => {
        if (state !== "reconnecting") return;
        reconnecting(detail);
        stream.close();
      },
    });
  });
  expect(told).toEqual({ reason: "drain", retryInMs: 9127 });
});

test("the end of the answer is an error event on a closed source, and close tells nothing", async () => {
  const headers = { "Content-Type": "text/event-stream" };
  const answer = () => Promise.resolve(new Response("event: ready\ndata: {}\nid: at-1-1\n\n", { headers }));
  vi.stubGlobal("fetch", answer);

  const source = fetchSource("http://host.test/", "secret");
  const seen: string[] = [];
  await new Promise<void>((ended) => {
    source.addEventListener("ready", (event) => seen.push((event as MessageEvent).lastEventId));
    source.addEventListener("error", () => ended());
  });
  expect(seen).toEqual(["at-1-1"]);
  expect(source.readyState).toBe(2);

  const closed = fetchSource("http://host.test/", "secret");
  const told = vi.fn();
  closed.addEventListener("error", told);
  closed.addEventListener("ready", told);
  closed.close();
  await new Promise((later) => setTimeout(later));
  expect(told).not.toHaveBeenCalled();
});
