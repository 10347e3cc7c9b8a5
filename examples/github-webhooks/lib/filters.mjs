// @ts-check
/**
 * What the filters of single companies did, told by the streams alone: each result is counted again from the events it is of.
 * `modules/` holds their settings; companies, types and keys here are the same.
 */

import { placed } from "./client.mjs";

/** @typedef {import("./client.mjs").Received} Received */
/** @typedef {import("./deliveries.mjs").Message} Message */

/**
 * @typedef {object} FilterReport
 * @property {string} company
 * @property {string} filter
 * @property {number} events That it looked at.
 * @property {number} dropped
 * @property {number} emitted Events of its own, beside those that passed.
 * @property {number} waiting Events in windows or sessions that are not over.
 * @property {string[]} results
 * @property {string[]} problems
 */

export const DEDUP = {
  company: "octo-org",
  types: ["discussion_created", "discussion_comment_created", "issues_transferred", "workflow_job_in_progress"],
};
export const WINDOW = { company: "Octocoders", emit: "events_counted" };
export const SESSION = {
  company: "Codertocat",
  types: ["pull_request_opened", "pull_request_review_submitted", "pull_request_closed"],
  emit: "pull_request_session",
};
/** How long a window is, and the quiet after which a session is over. */
export const OVER_MS = 3_000;

/**
 * @param {object} facts
 * @param {Message[]} facts.published All, redeliveries too.
 * @param {number} facts.begin When the last event before the run was, in milliseconds since 1970; 0: the host has no past.
 * @param {number} facts.firstEnd The sequence up to which the first deliveries go.
 * @param {Map<string, Received[]>} facts.streams
 * @returns {FilterReport[]}
 */
export function filters({ published, begin, firstEnd, streams }) {
  const stream = (/** @type {string} */ company) => (streams.get(company) ?? []).map(read);
  return [
    dedup(published, stream(DEDUP.company), begin),
    window(stream(WINDOW.company), { begin, firstEnd }),
    session(stream(SESSION.company), { begin, firstEnd }),
  ];
}

/** @typedef {{ sequence: number, time: number, type: string, data: any }} Placed */
/** @typedef {{ begin: number, firstEnd: number }} Bounds */

/**
 * @param {Received} event
 * @returns {Placed}
 */
function read({ id, type, data }) {
  return { ...placed(id), type, data: JSON.parse(data) };
}

/**
 * @param {Message[]} published
 * @param {Placed[]} stream
 * @param {number} begin
 * @returns {FilterReport}
 */
function dedup(published, stream, begin) {
  const { company, types } = DEDUP;
  const events = published.filter(isToldOnce);
  const passed = stream.filter(({ type }) => types.includes(type));
  const problems = [];
  const pages = new Set(passed.map(({ data }) => data.url)).size;
  if (pages !== passed.length) problems.push(`${company}: ${passed.length - pages} duplicates got through`);
  // A host with a past may have told all of them before.
  const different = new Set(events.map(({ line }) => line)).size;
  if (begin <= 0 && pages !== different) problems.push(`${company}: ${different} different deliveries, but ${pages} got through`);
  return {
    company,
    filter: "dedup",
    events: events.length,
    dropped: events.length - passed.length,
    emitted: 0,
    waiting: 0,
    results: passed.map(({ type, data }) => `${type} ${data.url}`),
    problems,
  };
}

/** @param {Message} message */
function isToldOnce({ subject, line }) {
  const { action, repository } = JSON.parse(line);
  const type = `${subject.slice("github.".length)}_${action}`;
  return DEDUP.types.includes(type) && repository?.owner?.login === DEDUP.company;
}

/**
 * @param {Placed[]} stream
 * @param {Bounds} bounds
 * @returns {FilterReport}
 */
function window(stream, bounds) {
  const { company, emit } = WINDOW;
  const events = stream.filter(({ type }) => type !== emit);
  const ended = stream.filter(({ type }) => type === emit);
  const windows = ended.filter(ofRun(bounds)).map(({ data: { group, from, to, count } }) => ({
    name: `the window of ${group} from ${from}`,
    group,
    events: count,
    holds: (/** @type {Placed} */ { time, data }) => data.event === group && time >= from && time < to,
  }));
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { group, events } of windows) counts.set(group, (counts.get(group) ?? 0) + events);
  return {
    company,
    filter: "window",
    events: events.length,
    dropped: 0,
    emitted: ended.length,
    results: [...counts].map(([group, count]) => `${group} ${count}`),
    ...gathered(company, events, windows, bounds),
  };
}

/**
 * @param {Placed[]} stream
 * @param {Bounds} bounds
 * @returns {FilterReport}
 */
function session(stream, bounds) {
  const { company, types, emit } = SESSION;
  const events = stream.filter(({ type }) => types.includes(type));
  const ended = stream.filter(({ type }) => type === emit);
  const sessions = ended.filter(ofRun(bounds)).map(({ data: { user, from, to, events, stages } }) => ({
    name: `the session of #${user} from ${from}`,
    events,
    life: stages.map((/** @type {{ stage: string }} */ { stage }) => stage).join(" → "),
    user,
    holds: (/** @type {Placed} */ { time, data }) => String(data.number) === user && time >= from && time <= to,
  }));
  const { waiting, problems } = gathered(company, events, sessions, bounds);
  for (const { name, life, holds } of sessions) {
    const lived = changes(events.filter(holds)).join(" → ");
    if (life !== lived) problems.push(`${company}: ${name} says ${life}, but its events are ${lived}`);
  }
  return {
    company,
    filter: "session",
    events: events.length,
    dropped: 0,
    emitted: ended.length,
    waiting,
    results: sessions.map(({ user, life }) => `#${user} ${life}`),
    problems,
  };
}

/**
 * A host with a past also ends what waited then: events that this run knows nothing of.
 * @param {Bounds} bounds
 */
function ofRun({ begin }) {
  return (/** @type {Placed} */ { data }) => data.from > begin;
}

/**
 * Whether windows or sessions are of exactly as many events as they say, and together of every first delivery.
 * @param {string} company
 * @param {Placed[]} events
 * @param {{ name: string, events: number, holds: (event: Placed) => boolean }[]} wholes
 * @param {Bounds} bounds
 */
function gathered(company, events, wholes, { firstEnd }) {
  const problems = [];
  for (const { name, events: said, holds } of wholes) {
    const found = events.filter(holds).length;
    if (found !== said) problems.push(`${company}: ${name} says ${said} events, but there are ${found}`);
  }
  const waiting = events.filter((event) => !wholes.some(({ holds }) => holds(event)));
  // Only what came last can wait: what was delivered first is over by then.
  const missing = waiting.filter(({ sequence }) => sequence <= firstEnd).length;
  if (missing > 0) problems.push(`${company}: ${missing} first deliveries are in no window or session`);
  // Told twice, a window holds what it says, and the sum gives it away.
  const held = wholes.reduce((sum, { events }) => sum + events, 0);
  if (held + waiting.length !== events.length) {
    problems.push(`${company}: ${held} held + ${waiting.length} waiting aren't ${events.length} events`);
  }
  return { waiting: waiting.length, problems };
}

/**
 * The actions of events, one that follows itself once.
 * @param {Placed[]} events
 * @returns {string[]}
 */
function changes(events) {
  const actions = events.map(({ data }) => data.action);
  return actions.filter((action, n) => action !== actions[n - 1]);
}
