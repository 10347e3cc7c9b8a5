// @ts-check
/** What is told of the filters of single companies, and what they could not hide. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { DEDUP, OVER_MS, SESSION, WINDOW, filters } from "./filters.mjs";

const FIRST_END = 10;
const [JOB] = DEDUP.types.slice(-1);

/** @typedef {import("./client.mjs").Received} Received */

/**
 * @param {number} sequence
 * @param {number} time
 * @param {string} type
 * @param {object} data
 * @returns {Received}
 */
function event(sequence, time, type, data) {
  return { id: `github.x-${sequence}-${time}`, type, data: JSON.stringify(data) };
}

/** A run in which all is well: two kinds counted, one pull request, one job told once of three deliveries. */
function well() {
  const job = JSON.stringify({ action: "in_progress", repository: { owner: { login: DEDUP.company } } });
  const life = (/** @type {number} */ sequence, /** @type {string} */ action) => event(sequence, sequence, SESSION.types[0], { number: 2, action });
  const stages = [{ stage: "opened", at: 1 }, { stage: "closed", at: 3 }];
  return {
    published: Array.from({ length: 3 }, () => ({ subject: "github.workflow_job", line: job })),
    begin: -1,
    firstEnd: FIRST_END,
    streams: new Map([
      [DEDUP.company, [event(1, 1, JOB, { url: "https://git.test/1" }), event(2, 2, "push", { url: "https://git.test/1" })]],
      [WINDOW.company, [
        event(1, 1, "ping", { event: "ping" }),
        event(2, 2, "ping", { event: "ping" }),
        event(3, 2, "team_add", { event: "team_add" }),
        event(11, 3_000, "ping", { event: "ping" }),
        event(11, 3_000, WINDOW.emit, { group: "ping", from: 0, to: 3_000, count: 2 }),
        event(11, 3_000, WINDOW.emit, { group: "team_add", from: 0, to: 3_000, count: 1 }),
      ]],
      [SESSION.company, [
        ...[life(1, "opened"), life(2, "opened"), life(3, "closed"), event(4, 4, "push", {})],
        event(11, 3_003, SESSION.types[0], { number: 2, action: "opened" }),
        event(11, 3_003, SESSION.emit, { user: "2", from: 1, to: 3, events: 3, stages }),
      ]],
    ]),
  };
}

/**
 * The problems of a run in which one event of a stream is another, or none.
 * @param {string} company
 * @param {number} place
 * @param {(data: any) => object | null} change
 */
function problems(company, place, change) {
  const run = well();
  const stream = run.streams.get(company) ?? [];
  const data = change(JSON.parse(stream[place].data));
  stream.splice(place, 1, ...(data ? [{ ...stream[place], data: JSON.stringify(data) }] : []));
  return filters(run).flatMap(({ problems }) => problems).join("\n");
}

test("what each filter did is told", () => {
  const told = filters(well());
  assert.deepEqual(told.map((each) => [each.filter, each.events, each.dropped, each.emitted, each.waiting, each.results, each.problems]), [
    ["dedup", 3, 2, 0, 0, [`${JOB} https://git.test/1`], []],
    ["window", 4, 0, 2, 1, ["ping 2", "team_add 1"], []],
    ["session", 4, 0, 1, 1, ["#2 opened → closed"], []],
  ]);
});

test("a duplicate that got through is a problem", () => {
  const run = well();
  run.streams.get(DEDUP.company)?.push(event(3, 3, JOB, { url: "https://git.test/1" }));
  assert.deepEqual(filters(run)[0].problems, ["octo-org: 1 duplicates got through"]);
});

test("a first delivery that didn't get through is a problem, unless the host knew it before", () => {
  const none = { ...well(), streams: new Map([[DEDUP.company, [event(2, 2, "push", {})]]]) };
  assert.deepEqual(filters(none)[0].problems, ["octo-org: 1 different deliveries, but 0 got through"]);
  const { dropped, problems } = filters({ ...none, begin: 1 })[0];
  assert.deepEqual([dropped, problems], [3, []]);
});

test("a window or session that counts wrongly, is missing or comes twice is a problem", () => {
  assert.match(problems(WINDOW.company, 4, (data) => ({ ...data, count: 3 })), /ping from 0 says 3 events, but there are 2/);
  assert.match(problems(WINDOW.company, 4, () => null), /2 first deliveries are in no window/);
  assert.match(problems(SESSION.company, 5, (data) => ({ ...data, events: 2 })), /#2 from 1 says 2 events, but there are 3/);
  assert.match(problems(SESSION.company, 5, () => null), /3 first deliveries are in no window or session/);
  const run = well();
  const stream = run.streams.get(WINDOW.company) ?? [];
  stream.push(stream[4]);
  assert.match(filters(run)[1].problems.join(), /5 held \+ 1 waiting aren't 4 events/);
});

test("what waited since before the run is emitted, but not of it", () => {
  const run = { ...well(), begin: 0 };
  const stream = run.streams.get(SESSION.company) ?? [];
  stream.push(event(11, 3_003, SESSION.emit, { user: "2", from: -9, to: -7, events: 8, stages: [] }));
  const { emitted, results, problems } = filters(run)[2];
  assert.deepEqual([emitted, results, problems], [2, ["#2 opened → closed"], []]);
});

test("a session whose stages are not its events' is a problem", () => {
  const turned = problems(SESSION.company, 5, (data) => ({ ...data, stages: data.stages.reverse() }));
  assert.match(turned, /says closed → opened, but its events are opened → closed/);
});

test("a run without the filters fails", () => {
  const run = well();
  for (const [company, events] of run.streams) {
    run.streams.set(company, events.filter(({ type }) => type !== WINDOW.emit && type !== SESSION.emit));
  }
  assert.equal(filters(run).flatMap(({ problems }) => problems).length, 2);
});

test("the filters have the settings that are counted by", async () => {
  const settings = (/** @type {string} */ path) => readFile(new URL(`../modules/${path}.toml`, import.meta.url), "utf8");
  const list = (/** @type {string[]} */ types) => `types = [${types.map((type) => `"${type}"`).join(", ")}]\n`;
  const dedup = await settings(`${DEDUP.company}/10-dedup`);
  assert.ok(dedup.includes(list(DEDUP.types)) && dedup.includes('pointer = "/url"\n'));
  const window = await settings(`${WINDOW.company}/10-window`);
  assert.ok(window.includes(`length = ${OVER_MS / 1_000}\n`) && window.includes(`emit = "${WINDOW.emit}"\n`));
  const session = await settings(`${SESSION.company}/10-session`);
  assert.ok(session.includes(list(SESSION.types)) && session.includes(`emit = "${SESSION.emit}"\n`));
  assert.ok(session.includes(`quiet = ${OVER_MS / 1_000}\n`));
});
