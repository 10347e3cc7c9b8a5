// @ts-check
/** Publishes GitHub's webhook examples to a Tidegate host and accounts for each of them. See README.md. */

import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { serve } from "../browser/serve.mjs";
import { companies, counters, place, placed, publish, replay } from "./lib/client.mjs";
import { again, first, runs } from "./lib/deliveries.mjs";
import { OVER_MS, filters } from "./lib/filters.mjs";
import { start } from "./lib/host.mjs";
import * as nats from "./lib/nats.mjs";
import { load } from "./lib/payloads.mjs";
import { judge, tally, text, total } from "./lib/report.mjs";

const SETTLED_MS_MAX = 60_000;
/** Until GitHub delivers again: windows and sessions are over by then, on clocks that differ by a little, too. */
const AGAIN_MS = OVER_MS + 100;
/** Between two events while a browser watches. */
const PACE_MS = 500;

const USAGE = `node examples/github-webhooks/run.mjs [options]

Publishes every payload of @octokit/webhooks-examples as github.<event>, some of them again, and prints what became of them.
Exit status: 0 if the sums agree and at least 95 % became events, 1 if not, 2 for wrong usage.

  --tidegate FILE    the binary (target/debug/tidegate, built if missing)
  --module FILE      the filter (target/filters/github.wasm, built if missing)
  --payloads FOLDER  the unpacked npm package (fetched into the cache if missing)
  --url URL          a running host instead of one of our own: nothing else may publish to it meanwhile
  --token TOKEN      its ingest.token (TIDEGATE_INGEST_TOKEN)
  --nats URL         publish over this NATS server instead of /ingest; a host of our own then reads from it
  --watch            then go on publishing, with a page that shows a company's stream, until Ctrl-C
  --check            nothing but the run and its verdict: no --watch, no progress
  --json             the result as JSON
`;

const OPTIONS = /** @type {const} */ ({
  tidegate: { type: "string" },
  module: { type: "string" },
  payloads: { type: "string" },
  url: { type: "string" },
  token: { type: "string" },
  nats: { type: "string" },
  watch: { type: "boolean" },
  check: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
});

/** @typedef {{ url: string, token: string, nats?: string, log?: () => Record<string, any>[] }} Target */
/** @typedef {import("./lib/deliveries.mjs").Message} Message */

/** @param {ReturnType<typeof options>} given */
async function main(given) {
  const say = (/** @type {string} */ line) => void (given.check || console.error(line));
  const { origin, groups } = await load(given.payloads);
  say(`payloads: ${origin}`);
  const messages = first(groups);
  const page = given.watch ? await serve(0, fileURLToPath(new URL("..", import.meta.url))) : null;
  const pageUrl = page && `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (page.address()).port}`;
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => interrupted.abort());
  /** @type {import("./lib/host.mjs").Host | null} */
  let ours = null;
  try {
    if (!given.url) ours = await start({ ...given, page: pageUrl ?? undefined, say });
    const target = ours ?? { url: given.url ?? "", token: given.token ?? process.env.TIDEGATE_INGEST_TOKEN ?? "" };
    const report = await account({ ...target, nats: given.nats }, messages, interrupted.signal);
    console.log(given.json ? JSON.stringify(report, null, 2) : text(report));
    if (pageUrl && !interrupted.signal.aborted) {
      const watched = new URLSearchParams({ server: target.url, companyId: report.sample.company, types: Object.keys(report.types).join() });
      console.log(`\nWatch ${report.sample.company} in a browser (Ctrl-C ends this):\n${pageUrl}/github-webhooks/watch.html?${watched}`);
      await goOn({ ...target, nats: given.nats }, messages, interrupted.signal);
    }
    return report.problems.length === 0 ? 0 : 1;
  } finally {
    page?.close();
    page?.closeAllConnections();
    await ours?.end();
  }
}

/**
 * @param {Target} target
 * @param {Message[]} messages
 * @param {AbortSignal} interrupted
 */
async function account(target, messages, interrupted) {
  const before = await counters(target.url);
  // A host of our own holds nothing else; another one may have a past.
  const cursor = target.log ? "earliest" : await place(target.url);
  const redelivered = again(messages);
  const published = [...messages, ...redelivered];
  // From the begin of a window, so that runs differ in nothing but their times; and what went before is over.
  await pause((target.log ? 1 : 2) * OVER_MS - (Date.now() % OVER_MS), interrupted);
  await send(target, messages);
  await settled(target.url, before, messages.length, interrupted);
  const firstEnd = await place(target.url);
  await pause(AGAIN_MS, interrupted);
  await send(target, redelivered);
  const counted = await settled(target.url, before, published.length, interrupted);
  /** @type {Map<string, import("./lib/client.mjs").Received[]>} */
  const streams = new Map();
  for (const company of await companies(target.url)) {
    const events = (await replay(target.url, company, cursor)).filter(({ id }) => id.startsWith("github."));
    if (events.length > 0) streams.set(company, events);
  }
  return judge({
    payloads: messages.length,
    redelivered: redelivered.length,
    counted,
    reasons: target.log ? await reasons(target.log, total(counted.deadByKind)) : null,
    streams,
    filters: filters({ published, begin: target.log ? 0 : placed(cursor).time, firstEnd: placed(firstEnd).sequence, streams }),
  });
}

/**
 * @param {Target} target
 * @param {Message[]} messages
 */
async function send({ url, token, nats: server }, messages) {
  if (server) return nats.publish(server, messages);
  for (const { subject, lines } of runs(messages)) {
    const accepted = await publish(url, token, subject, lines);
    if (accepted !== lines.length) throw new Error(`${subject}: ${accepted} of ${lines.length} events were accepted`);
  }
}

/**
 * Waits until every payload is accounted for, or for a minute: then the verdict says what is missing.
 * @param {string} url
 * @param {import("./lib/client.mjs").Counters} before
 * @param {number} payloads
 * @param {AbortSignal} interrupted
 */
async function settled(url, before, payloads, interrupted) {
  for (const until = Date.now() + SETTLED_MS_MAX; ; await sleep(50)) {
    const now = await counters(url);
    const since = {
      received: now.received - before.received,
      emitted: now.emitted - before.emitted,
      outputs: now.outputs - before.outputs,
      droppedByReason: more(now.droppedByReason, before.droppedByReason),
      deadByKind: more(now.deadByKind, before.deadByKind),
    };
    const done = since.received >= payloads && since.emitted + total(since.droppedByReason) + total(since.deadByKind) >= payloads;
    if (done || Date.now() > until || interrupted.aborted) return since;
  }
}

/**
 * By how much counts grew; those that did not are left out.
 * @param {Record<string, number>} now
 * @param {Record<string, number>} before
 */
function more(now, before) {
  const grown = Object.entries(now).map(([name, count]) => [name, count - (before[name] ?? 0)]);
  return Object.fromEntries(grown.filter(([, count]) => count));
}

/**
 * @param {number} ms
 * @param {AbortSignal} interrupted Ends it early.
 */
async function pause(ms, interrupted) {
  await sleep(ms, undefined, { signal: interrupted }).catch(() => {});
}

/**
 * The reasons of the dead letters: counted in the metrics by kind, told in the log.
 * @param {() => Record<string, any>[]} log
 * @param {number} letters
 */
async function reasons(log, letters) {
  for (const until = Date.now() + 5_000; ; await sleep(50)) {
    const facts = log().map((line) => ({ ...line, ...line.fields }));
    const found = facts.filter(({ message }) => message === "dead letter");
    // Through a pipe, so they may come a moment after the metrics.
    if (found.length >= letters || Date.now() > until) return tally(found.map(({ subject, reason }) => `${subject}: ${said(reason)}`));
  }
}

/**
 * What the filter said, without the place in its batch: alike letters count together.
 * @param {string} reason `10-github@ab25 failed at sequence 7 (event 1 of 13): no company`, say.
 */
function said(reason) {
  return reason.replace(/^\S+ failed at sequence \d+ \(event \d+ of \d+\): /, "");
}

/**
 * @param {Target} target
 * @param {Message[]} messages
 * @param {AbortSignal} interrupted
 */
async function goOn(target, messages, interrupted) {
  while (!interrupted.aborted) {
    for (const message of messages) {
      if (interrupted.aborted) return;
      await send(target, [message]);
      await pause(PACE_MS, interrupted);
    }
  }
}

function options() {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.url && (values.tidegate || values.module)) throw new TypeError("--url is for a host that runs already");
  if (values.watch && (values.check || values.url)) throw new TypeError("--watch goes with neither --check nor --url");
  if (values.token && !values.url) throw new TypeError("--token belongs to --url");
  return values;
}

let given;
try {
  given = options();
} catch (error) {
  console.error(`${/** @type {Error} */ (error).message}\n\n${USAGE}`);
  process.exit(2);
}
if (given.help) {
  console.log(USAGE);
} else {
  process.exitCode = await main(given).catch((error) => {
    // fetch hides what went wrong in its cause.
    console.error(`${error.message}${error.cause ? `: ${error.cause.message}` : ""}`);
    return 1;
  });
}
