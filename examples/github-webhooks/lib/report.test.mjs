// @ts-check
/** The verdict over a run: `node --test examples/github-webhooks/lib/`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, text } from "./report.mjs";

/** @param {Partial<import("./client.mjs").Counters>} [changed] */
function run(changed = {}, streamed = 98) {
  const counted = { received: 100, emitted: 98, dropped: 0, dead: 2, deadByKind: { error: 2 }, ...changed };
  const events = Array.from({ length: streamed }, (_, n) => ({ id: `github.push-${n}-1`, type: "push", data: "{}" }));
  return judge({ payloads: 100, counted, reasons: null, streams: new Map([["acme", events]]) });
}

test("a run whose sums agree has no problem", () => {
  const report = run();
  assert.deepEqual(report.problems, []);
  assert.deepEqual(report.types, { push: 98 });
  assert.match(text(report), /The sums agree\.$/);
});

test("each payload that is nowhere is a problem", () => {
  assert.match(run({ received: 99, emitted: 97 }, 97).problems[0], /100 payloads were published, but 99 received/);
  assert.match(run({ emitted: 97 }, 97).problems[0], /97 emitted .* aren't 100 received/);
  assert.match(run({}, 97).problems[0], /98 emitted, but 97 in the streams/);
  assert.match(run({ deadByKind: { error: 1 } }).problems[0], /2 dead letters, but 1 reasons/);
});

test("a payload counted twice is a problem", () => {
  assert.match(run({ received: 101, emitted: 99 }, 99).problems[0], /100 payloads were published, but 101 received/);
});

test("fewer events than 95 % are a problem, however well explained", () => {
  const report = run({ emitted: 94, dead: 6, deadByKind: { error: 6 } }, 94);
  assert.deepEqual(report.problems, ["only 94.0 % became events"]);
  assert.match(text(report), /FAILED: only 94\.0 %/);
});
