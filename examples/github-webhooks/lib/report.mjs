// @ts-check
/** What came of the payloads: gathered, judged, printed. */

const EVENTS_SHARE_MIN = 0.95;
/** Of a list in the text; `--json` has them all. */
const LISTED_MAX = 20;

/** @typedef {import("./client.mjs").Counters} Counters */
/** @typedef {import("./client.mjs").Received} Received */

/**
 * @typedef {object} Report
 * @property {number} payloads Published.
 * @property {number} received
 * @property {number} emitted
 * @property {number} dropped
 * @property {number} deadLetters
 * @property {Record<string, number>} reasons Of the dead letters.
 * @property {number} replayed Events that came back out of the companies' streams.
 * @property {Record<string, number>} companies Events of each.
 * @property {Record<string, number>} types Events of each.
 * @property {{ company: string, events: Received[] }} sample
 * @property {string[]} problems Why the run failed; none: it did not.
 */

/**
 * @param {object} facts
 * @param {number} facts.payloads
 * @param {Counters} facts.counted
 * @param {Record<string, number> | null} facts.reasons From the log; null where it can't be read.
 * @param {Map<string, Received[]>} facts.streams
 * @returns {Report}
 */
export function judge({ payloads, counted, reasons, streams }) {
  const all = [...streams.values()].flat();
  const company = [...streams].sort(([, a], [, b]) => b.length - a.length)[0]?.[0] ?? "";
  /** @type {Report} */
  const report = {
    payloads,
    received: counted.received,
    emitted: counted.emitted,
    dropped: counted.dropped,
    deadLetters: counted.dead,
    reasons: reasons ?? counted.deadByKind,
    replayed: all.length,
    companies: Object.fromEntries([...streams].map(([name, events]) => [name, events.length])),
    types: tally(all.map(({ type }) => type)),
    sample: { company, events: (streams.get(company) ?? []).slice(0, 3) },
    problems: [],
  };
  const { received, emitted, dropped, deadLetters, problems } = report;
  const explained = Object.values(report.reasons).reduce((sum, count) => sum + count, 0);
  if (received !== payloads) problems.push(`${payloads} payloads were published, but ${received} received`);
  if (emitted + dropped + deadLetters !== received) {
    problems.push(`${emitted} emitted + ${dropped} dropped + ${deadLetters} dead letters aren't ${received} received`);
  }
  if (explained !== deadLetters) problems.push(`${deadLetters} dead letters, but ${explained} reasons`);
  if (all.length !== emitted) problems.push(`${emitted} emitted, but ${all.length} in the streams`);
  if (emitted < payloads * EVENTS_SHARE_MIN) problems.push(`only ${share(emitted, payloads)} became events`);
  return report;
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
  const { payloads, received, emitted, dropped, deadLetters, replayed, sample } = report;
  const row = (/** @type {string} */ name, /** @type {number} */ count, note = "") => `  ${name.padEnd(14)}${String(count).padStart(6)}  ${note}`.trimEnd();
  const reasons = Object.entries(report.reasons).map(([reason, count]) => `    ${count} × ${reason}`);
  const events = sample.events.map(({ id, type, data }) => `  event: ${type}\n  data: ${data}\n  id: ${id}\n`);
  return [
    row("payloads", payloads),
    row("received", received),
    row("events", emitted, share(emitted, payloads)),
    row("dropped", dropped),
    row("dead letters", deadLetters),
    ...reasons,
    row("replayed", replayed, "read back from the companies' streams"),
    "",
    ...listed("companies", report.companies),
    ...listed("event types", report.types),
    `${sample.company}, lastEventId=earliest, the first ${sample.events.length}:`,
    "",
    ...events,
    ...(report.problems.length > 0 ? report.problems.map((problem) => `FAILED: ${problem}`) : ["The sums agree."]),
  ].join("\n");
}

/**
 * @param {string} title
 * @param {Record<string, number>} counts
 */
function listed(title, counts) {
  const sorted = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const words = sorted.slice(0, LISTED_MAX).map(([name, count]) => `${name} ${count}`);
  if (sorted.length > LISTED_MAX) words.push(`and ${sorted.length - LISTED_MAX} more`);
  const lines = [""];
  for (const word of words) {
    const last = lines[lines.length - 1];
    if (last && last.length + word.length > 110) lines.push(word);
    else lines[lines.length - 1] = last ? `${last}, ${word}` : word;
  }
  return [`${sorted.length} ${title}:`, ...lines.map((line) => `  ${line}`), ""];
}

/**
 * @param {number} part
 * @param {number} whole
 */
function share(part, whole) {
  // Never rounded up: 100.0 % is all of them.
  return `${(Math.floor((part / whole) * 1000) / 10).toFixed(1)} %`;
}
