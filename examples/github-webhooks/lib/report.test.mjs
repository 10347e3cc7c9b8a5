// @ts-check
/** The verdict over a run: `node --test examples/github-webhooks/lib/`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, text } from "./report.mjs";

/** Two duplicates dropped, and one window beside the events. */
const FILTERS = [
  { company: "octo-org", filter: "dedup", events: 3, dropped: 2, emitted: 0, waiting: 0, results: ["job 1"], problems: /** @type {string[]} */ ([]) },
  { company: "acme", filter: "window", events: 9, dropped: 0, emitted: 1, waiting: 4, results: ["ping 5"], problems: [] },
];

/**
 * @param {Partial<import("./client.mjs").Counters>} [changed]
 * @param {number} [streamed]
 */
function run(changed = {}, streamed = 117, filters = FILTERS) {
  const counted = { received: 120, emitted: 116, outputs: 117, droppedByReason: { duplicate: 2 }, deadByKind: { error: 2 }, ...changed };
  const events = Array.from({ length: streamed }, (_, n) => ({ id: `github.push-${n}-1`, type: "push", data: "{}" }));
  return judge({ payloads: 100, redelivered: 20, counted, reasons: null, streams: new Map([["acme", events]]), filters });
}

test("a run whose sums agree has no problem", () => {
  const report = run();
  assert.deepEqual(report.problems, []);
  assert.deepEqual(report.types, { push: 117 });
  assert.deepEqual([report.dropped, report.deadLetters, report.aggregates], [2, 2, 1]);
  assert.match(text(report), /The sums agree\.$/);
});

test("what filters did is told", () => {
  const told = text(run());
  assert.match(told, /dropped +2\n +2 × duplicate\n/);
  assert.match(told, /octo-org, dedup: 3 events, 2 dropped\n {2}job 1\n/);
  assert.match(told, /acme, window: 9 events, 1 emitted, 4 wait for the end of theirs\n {2}ping 5\n/);
});

test("each payload that is nowhere is a problem", () => {
  assert.match(run({ received: 119, emitted: 115, outputs: 116 }, 116).problems[0], /120 payloads were published, but 119 received/);
  assert.match(run({ emitted: 115, outputs: 116 }, 116).problems[0], /115 emitted .* aren't 120 received/);
  assert.match(run({}, 116).problems[0], /116 emitted \+ 1 aggregates, but 116 in the streams/);
  assert.match(run({ deadByKind: { error: 3 } }).problems[0], /aren't 120 received/);
});

test("a dead letter without a reason is a problem", () => {
  const events = Array.from({ length: 117 }, (_, n) => ({ id: `github.push-${n}-1`, type: "push", data: "{}" }));
  const counted = { received: 120, emitted: 116, outputs: 117, droppedByReason: { duplicate: 2 }, deadByKind: { error: 2 } };
  const streams = new Map([["acme", events]]);
  const report = judge({ payloads: 100, redelivered: 20, counted, reasons: { "no company": 1 }, streams, filters: FILTERS });
  assert.deepEqual(report.problems, ["2 dead letters, but 1 reasons"]);
});

test("a payload counted twice is a problem", () => {
  assert.match(run({ received: 121, emitted: 117, outputs: 118 }, 118).problems[0], /120 payloads were published, but 121 received/);
});

test("an output that is in no stream, and a drop that no filter explains, are problems", () => {
  assert.deepEqual(run({ outputs: 118 }).problems, ["118 outputs, but 117 in the streams"]);
  const unexplained = run({ emitted: 115, outputs: 116, droppedByReason: { duplicate: 2, late: 1 } }, 116);
  assert.deepEqual(unexplained.problems, ["3 dropped, but 2 are missing in the streams"]);
});

test("what a filter did wrong is a problem of the run", () => {
  assert.deepEqual(run({}, 117, [{ ...FILTERS[0], problems: ["octo-org: 1 duplicates got through"] }, FILTERS[1]]).problems, [
    "octo-org: 1 duplicates got through",
  ]);
});

test("fewer events than 95 % are a problem, however well explained", () => {
  const report = run({ emitted: 112, outputs: 113, deadByKind: { error: 6 } }, 113);
  assert.deepEqual(report.problems, ["only 93.3 % became events"]);
  assert.match(text(report), /FAILED: only 93\.3 %/);
});
