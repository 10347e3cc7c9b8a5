// @ts-check
/** What came of the payloads: gathered, judged, printed. */

const EVENTS_SHARE_MIN = 0.95;
/** Of a list in the text; `--json` has them all. */
const LISTED_MAX = 20;

/** @typedef {import("./client.mjs").Counters} Counters */
/** @typedef {import("./client.mjs").Received} Received */
/** @typedef {import("./filters.mjs").FilterReport} FilterReport */

/**
 * @typedef {object} Report
 * @property {number} payloads Published.
 * @property {number} redelivered Published once more.
 * @property {number} received
 * @property {number} emitted Of what was received, what became events.
 * @property {number} dropped
 * @property {Record<string, number>} droppedReasons
 * @property {number} deadLetters
 * @property {Record<string, number>} reasons Of the dead letters.
 * @property {number} aggregates Windows and sessions, emitted beside the events that they are of.
 * @property {number} replayed Events and aggregates that came back out of the companies' streams.
 * @property {FilterReport[]} filters Of single companies.
 * @property {Record<string, number>} companies Events of each.
 * @property {Record<string, number>} types Events of each.
 * @property {{ company: string, events: Received[] }} sample
 * @property {string[]} problems Why the run failed; none: it did not.
 */

/**
 * @param {object} facts
 * @param {number} facts.payloads
 * @param {number} facts.redelivered
 * @param {Counters} facts.counted
 * @param {Record<string, number> | null} facts.reasons From the log; null where it can't be read.
 * @param {Map<string, Received[]>} facts.streams
 * @param {FilterReport[]} facts.filters
 * @returns {Report}
 */
export function judge({ payloads, redelivered, counted, reasons, streams, filters }) {
  const all = [...streams.values()].flat();
  const company = [...streams].sort(([, a], [, b]) => b.length - a.length)[0]?.[0] ?? "";
  /** @type {Report} */
  const report = {
    payloads,
    redelivered,
    received: counted.received,
    emitted: counted.emitted,
    dropped: total(counted.droppedByReason),
    droppedReasons: counted.droppedByReason,
    deadLetters: total(counted.deadByKind),
    reasons: reasons ?? counted.deadByKind,
    aggregates: filters.reduce((sum, { emitted }) => sum + emitted, 0),
    replayed: all.length,
    filters,
    companies: Object.fromEntries([...streams].map(([name, events]) => [name, events.length])),
    types: tally(all.map(({ type }) => type)),
    sample: { company, events: (streams.get(company) ?? []).slice(0, 3) },
    problems: filters.flatMap(({ problems }) => problems),
  };
  const { received, emitted, dropped, deadLetters, aggregates, problems } = report;
  const published = payloads + redelivered;
  const explained = total(report.reasons);
  const duplicates = filters.reduce((sum, filter) => sum + filter.dropped, 0);
  if (received !== published) problems.push(`${published} payloads were published, but ${received} received`);
  if (emitted + dropped + deadLetters !== received) {
    problems.push(`${emitted} emitted + ${dropped} dropped + ${deadLetters} dead letters aren't ${received} received`);
  }
  if (explained !== deadLetters) problems.push(`${deadLetters} dead letters, but ${explained} reasons`);
  if (duplicates !== dropped) problems.push(`${dropped} dropped, but ${duplicates} are missing in the streams`);
  if (emitted + aggregates !== all.length) problems.push(`${emitted} emitted + ${aggregates} aggregates, but ${all.length} in the streams`);
  if (counted.outputs !== all.length) problems.push(`${counted.outputs} outputs, but ${all.length} in the streams`);
  if (emitted < published * EVENTS_SHARE_MIN) problems.push(`only ${share(emitted, published)} became events`);
  return report;
}

/** @param {Record<string, number>} counts */
export function total(counts) {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** @param {string[]} names */
export function tally(names) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const name of [...names].sort()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/**
 * @param {Report} report
 * @returns {string}
 */
export function text(report) {
  const { payloads, redelivered, received, emitted, dropped, deadLetters, aggregates, replayed, sample } = report;
  const row = (/** @type {string} */ name, /** @type {number} */ count, note = "") => `  ${name.padEnd(14)}${String(count).padStart(6)}  ${note}`.trimEnd();
  const reasons = (/** @type {Record<string, number>} */ counts) => Object.entries(counts).map(([reason, count]) => `    ${count} × ${reason}`);
  const events = sample.events.map(({ id, type, data }) => `  event: ${type}\n  data: ${data}\n  id: ${id}\n`);
  return [
    row("payloads", payloads),
    row("redelivered", redelivered, "published once more, later"),
    row("received", received),
    row("events", emitted, share(emitted, received)),
    row("dropped", dropped),
    ...reasons(report.droppedReasons),
    row("dead letters", deadLetters),
    ...reasons(report.reasons),
    row("aggregates", aggregates, "windows and sessions, beside the events"),
    row("replayed", replayed, "read back from the companies' streams"),
    "",
    ...report.filters.flatMap(told),
    ...listed("companies", report.companies),
    ...listed("event types", report.types),
    `${sample.company}, lastEventId=earliest, the first ${sample.events.length}:`,
    "",
    ...events,
    ...(report.problems.length > 0 ? report.problems.map((problem) => `FAILED: ${problem}`) : ["The sums agree."]),
  ].join("\n");
}

/** @param {FilterReport} report */
function told({ company, filter, events, dropped, emitted, waiting, results }) {
  const more = [dropped && `${dropped} dropped`, emitted && `${emitted} emitted`, waiting && `${waiting} wait for the end of theirs`];
  return [`${company}, ${filter}: ${[`${events} events`, ...more].filter(Boolean).join(", ")}`, ...(results.length > 0 ? lines(results) : []), ""];
}

/**
 * @param {string} title
 * @param {Record<string, number>} counts
 */
function listed(title, counts) {
  const sorted = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const words = sorted.slice(0, LISTED_MAX).map(([name, count]) => `${name} ${count}`);
  if (sorted.length > LISTED_MAX) words.push(`and ${sorted.length - LISTED_MAX} more`);
  return [`${sorted.length} ${title}:`, ...lines(words), ""];
}

/**
 * Words, as many to a line as it holds.
 * @param {string[]} words
 */
function lines(words) {
  const found = [""];
  for (const word of words) {
    const last = found[found.length - 1];
    if (last && last.length + word.length > 110) found.push(word);
    else found[found.length - 1] = last ? `${last}, ${word}` : word;
  }
  return found.map((line) => `  ${line}`);
}

/**
 * @param {number} part
 * @param {number} whole
 */
function share(part, whole) {
  // Never rounded up: 100.0 % is all of them.
  return `${(Math.floor((part / whole) * 1000) / 10).toFixed(1)} %`;
}
