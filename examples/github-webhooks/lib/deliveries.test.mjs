// @ts-check
/** What is published, and in which order. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { again, first, runs } from "./deliveries.mjs";

/** @param {string} action @param {string} at */
function pull(action, at) {
  return JSON.stringify({ action, pull_request: { updated_at: at } });
}

const messages = first([
  { event: "ping", lines: ["1", "2"] },
  { event: "pull_request", lines: [pull("closed", "2019-05-15T15:21:18Z"), pull("opened", "2019-05-15T15:20:33Z")] },
  { event: "pull_request_review", lines: [pull("submitted", "2019-05-15T15:20:38Z")] },
  { event: "push", lines: ["3"] },
]);

test("pull requests come in the order of their lives, the others as they are", () => {
  const told = messages.map(({ subject, line }) => `${subject} ${JSON.parse(line).action ?? line}`);
  assert.deepEqual(told, [
    ...["github.ping 1", "github.ping 2", "github.push 3"],
    ...["github.pull_request opened", "github.pull_request_review submitted", "github.pull_request closed"],
  ]);
});

test("what is delivered again are the very same payloads", () => {
  assert.deepEqual(again(messages), messages.filter(({ subject }) => subject === "github.pull_request_review"));
});

test("only what follows each other is published together", () => {
  const subjects = runs(messages).map(({ subject, lines }) => `${subject} ${lines.length}`);
  assert.deepEqual(subjects, ["github.ping 2", "github.push 1", "github.pull_request 1", "github.pull_request_review 1", "github.pull_request 1"]);
});
