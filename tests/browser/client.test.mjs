// @ts-check
/** The stream client's decisions, without a browser: a fake connection and a fake clock. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, mock, test } from "node:test";
import { openStream } from "../../examples/browser/stream-client.js";

const root = new URL("../../", import.meta.url);
const ADDRESS = "http://host.test/stream/updates";

class FakeSource extends EventTarget {
  /** @param {string} address */
  constructor(address) {
    super();
    this.query = Object.fromEntries(new URL(address).searchParams);
    this.readyState = 0;
    /** @type {import("../../examples/browser/stream-client.js").Refusal | null} */
    this.refusal = null;
  }

  /**
   * @param {string} type
   * @param {any} data
   * @param {string} [lastEventId]
   */
  send(type, data, lastEventId = "") {
    this.readyState = 1;
    const text = typeof data === "string" ? data : JSON.stringify(data);
    this.dispatchEvent(Object.assign(new Event(type), { data: text, lastEventId }));
  }

  /** @param {0 | 2} readyState */
  fail(readyState) {
    this.readyState = readyState;
    this.dispatchEvent(new Event("error"));
  }

  close() {
    this.readyState = 2;
  }
}

/** A Web Storage, as far as it is used. */
class FakeStorage {
  /** @param {Record<string, string>} items */
  constructor(items = {}) {
    this.items = new Map(Object.entries(items));
  }

  /** @param {string} key */
  getItem(key) {
    return this.items.get(key) ?? null;
  }

  /**
   * @param {string} key
   * @param {string} value
   */
  setItem(key, value) {
    this.items.set(key, value);
  }
}

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
});

afterEach(() => {
  mock.timers.reset();
});

/** @param {Partial<import("../../examples/browser/stream-client.js").StreamOptions>} options */
function start(options = {}) {
  /** @type {FakeSource[]} */
  const made = [];
  /** @type {any[]} */
  const told = [];
  const stream = openStream({
    url: ADDRESS,
    companyId: "company-a",
    connect(address) {
      made.push(new FakeSource(address));
      return /** @type {FakeSource} */ (made.at(-1));
    },
    onEvent: ({ type, id, data }) => told.push([type, id, data]),
    onGap: (gap) => told.push(["gap", gap]),
    onState: (state, detail) => told.push([state, detail]),
    ...options,
  });
  const newest = () => /** @type {FakeSource} */ (made.at(-1));
  return { made, told, stream, newest };
}

test("the page, the plain example and the React example use one and the same module", async () => {
  const [page, plain, react] = await Promise.all(
    ["host/server/assets/page/", "examples/browser/", "examples/react/src/"].map((folder) =>
      readFile(new URL(`${folder}stream-client.js`, root), "utf8"),
    ),
  );
  assert.equal(plain, page);
  assert.equal(react, page);
});

test("a first stream has no cursor, and is live once the host is ready", () => {
  const { told, stream, newest } = start();
  assert.deepEqual(newest().query, { companyId: "company-a" });
  newest().send("ready", { resumed: false, head: null, retentionMs: 1 }, "at-0-1");
  newest().send("metric_updated", { value: 1 }, "m-1-1");
  newest().send("vis_updated", "no JSON", "m-2-1");
  assert.deepEqual(told, [
    ["connecting", {}],
    ["live", {}],
    ["metric_updated", "m-1-1", { value: 1 }],
    ["vis_updated", "m-2-1", undefined],
  ]);
  assert.equal(stream.connections, 1);
  stream.close();
});

test("the last id is kept, also from control events, and sent when the stream is opened again", () => {
  const storage = new FakeStorage();
  const key = "tidegate:last-id:company-a";
  const first = start({ storage });
  first.newest().send("ready", { resumed: false }, "at-3-1");
  assert.equal(storage.getItem(key), "at-3-1");
  first.newest().send("metric_updated", {}, "m-4-1");
  first.newest().send("heartbeat", { t: 1 }, "at-9-1");
  assert.equal(storage.getItem(key), "at-9-1");
  first.newest().send("bye", { reason: "drain" });
  assert.equal(storage.getItem(key), "at-9-1");
  first.stream.close();

  const second = start({ storage });
  assert.deepEqual(second.newest().query, { companyId: "company-a", lastEventId: "at-9-1" });
  second.newest().send("ready", { resumed: true });
  second.newest().send("caught-up", { replayed: 7 }, "at-16-1");
  assert.deepEqual(second.told.slice(1), [["catching-up", {}], ["live", { replayed: 7 }]]);
  second.stream.close();
});

test("an id is kept after its event was handled, even by a handler that closes the stream", () => {
  const storage = new FakeStorage();
  /** @type {(string | null)[]} */
  const before = [];
  const { stream, newest } = start({
    storage,
    onEvent() {
      before.push(storage.getItem("tidegate:last-id:company-a"));
      stream.close();
    },
  });
  const source = newest();
  source.send("metric_updated", {}, "m-1-1");
  source.send("metric_updated", {}, "m-2-1");
  assert.deepEqual(before, [null]);
  assert.equal(stream.lastEventId, "m-1-1");
});

test("a gap is told as it is, and moves the place", () => {
  const { told, stream, newest } = start();
  const gap = { from: "m-1-1", to: "at-9-1", missed: null, reason: "store-lost" };
  newest().send("gap", gap, "at-9-1");
  assert.deepEqual(told.at(-1), ["gap", gap]);
  assert.equal(stream.lastEventId, "at-9-1");
  stream.close();
});

test("while the browser tries again by itself, no second connection is made", () => {
  const { made, told, stream, newest } = start();
  newest().send("ready", { resumed: false }, "at-0-1");
  newest().fail(0);
  assert.deepEqual(told.at(-1), ["reconnecting", { reason: "connection-lost" }]);
  newest().send("ready", { resumed: true });
  newest().send("bye", { reason: "rotate" });
  newest().fail(0);
  assert.deepEqual(told.at(-1), ["reconnecting", { reason: "rotate" }]);
  assert.equal(made.length, 1);
  assert.equal(stream.connections, 2);
  stream.close();
});

test("closed for good, it comes back with its place, later each time, and at most 30 s later", () => {
  const { made, told, stream, newest } = start();
  newest().send("metric_updated", {}, "m-1-1");
  const waits = [];
  for (let n = 1; n <= 12; n += 1) {
    newest().fail(2);
    const { retryInMs } = told.at(-1)[1];
    waits.push(retryInMs);
    mock.timers.tick(retryInMs - 1);
    assert.equal(made.length, n);
    mock.timers.tick(1);
    assert.equal(made.length, n + 1);
    assert.equal(newest().query.lastEventId, "m-1-1");
  }
  for (const [n, wait] of waits.entries()) {
    const ceiling = Math.min(30_000, 500 * 2 ** n);
    assert.ok(wait >= ceiling / 2 && wait <= ceiling, `attempt ${n}: ${wait} ms`);
  }
  newest().send("ready", { resumed: true });
  newest().fail(2);
  assert.ok(told.at(-1)[1].retryInMs <= 500);
  stream.close();
});

test("a refusal is told, and asked again seldom", () => {
  const { told, stream, newest } = start();
  const refusal = { status: 403, error: "Forbidden", message: "no" };
  newest().refusal = refusal;
  newest().fail(2);
  const [state, detail] = told.at(-1);
  assert.equal(state, "reconnecting");
  assert.deepEqual(detail.refusal, refusal);
  assert.ok(detail.retryInMs >= 15_000);
  stream.close();
});

test("silence of two heartbeats is a dead connection, and any event is a sign of life", () => {
  const { made, told, stream, newest } = start();
  newest().send("ready", { resumed: false }, "at-0-1");
  mock.timers.tick(50_000);
  newest().send("heartbeat", { t: 1 }, "at-1-1");
  mock.timers.tick(60_000);
  assert.equal(made.length, 1);
  mock.timers.tick(10_000);
  assert.equal(told.at(-1)[1].reason, "silent");
  assert.equal(made[0].readyState, 2);
  mock.timers.tick(500);
  assert.equal(made.length, 2);
  assert.equal(newest().query.lastEventId, "at-1-1");
  stream.close();
});

test("after close nothing is called back and no timer runs", () => {
  const { made, told, stream, newest } = start();
  const source = newest();
  source.fail(2);
  stream.close();
  stream.close();
  source.send("metric_updated", {}, "m-1-1");
  mock.timers.tick(600_000);
  assert.equal(made.length, 1);
  assert.deepEqual(told.at(-1), ["closed", {}]);
  assert.equal(told.filter(([state]) => state === "closed").length, 1);
});

test("a page that leaves gives its connection back, and goes on when it returns from the cache", () => {
  const page = new EventTarget();
  const globals = /** @type {any} */ (globalThis);
  globals.addEventListener = page.addEventListener.bind(page);
  globals.removeEventListener = page.removeEventListener.bind(page);
  try {
    const { made, stream, newest } = start();
    newest().send("metric_updated", {}, "m-1-1");
    page.dispatchEvent(new Event("pagehide"));
    assert.equal(newest().readyState, 2);
    mock.timers.tick(600_000);
    assert.equal(made.length, 1);
    page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    assert.equal(made.length, 2);
    assert.equal(newest().query.lastEventId, "m-1-1");

    newest().fail(2);
    page.dispatchEvent(new Event("online"));
    assert.equal(made.length, 3);

    stream.close();
    page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    assert.equal(made.length, 3);
  } finally {
    delete globals.addEventListener;
    delete globals.removeEventListener;
  }
});

test("storage that throws costs the place, not the stream", () => {
  const broken = {
    getItem() {
      throw new Error("switched off");
    },
    setItem() {
      throw new Error("full");
    },
  };
  const { told, stream, newest } = start({ storage: broken });
  newest().send("metric_updated", { value: 1 }, "m-1-1");
  assert.deepEqual(told.at(-1), ["metric_updated", "m-1-1", { value: 1 }]);
  assert.equal(stream.lastEventId, "m-1-1");
  stream.close();
});
