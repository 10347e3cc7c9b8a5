// @ts-check
/** What an HTTP client asks of a host: to take events, to tell its counters, to replay a company's stream. */

const ANSWER_MS_MAX = 30_000;

/**
 * Publishes events on one subject.
 * @param {string} url
 * @param {string} token
 * @param {string} subject
 * @param {string[]} lines Each one JSON text.
 * @returns {Promise<number>} How many were accepted.
 */
export async function publish(url, token, subject, lines) {
  const answer = await fetch(new URL(`/ingest/${subject}`, url), {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/x-ndjson" },
    body: lines.join("\n"),
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
  });
  const text = await answer.text();
  if (answer.status !== 202) throw new Error(`POST /ingest/${subject}: ${answer.status} ${text.trim()}`);
  return JSON.parse(text).accepted;
}

/**
 * @typedef {object} Counters
 * @property {number} received
 * @property {number} emitted Events of which something was emitted.
 * @property {number} outputs All that was emitted: of one event it may be several.
 * @property {Record<string, number>} droppedByReason
 * @property {Record<string, number>} deadByKind
 */

/**
 * @param {string} url
 * @returns {Promise<Counters>}
 */
export async function counters(url) {
  const text = await (await answered(url, "/metrics")).text();
  /** @type {Counters} */
  const found = { received: 0, emitted: 0, outputs: 0, droppedByReason: {}, deadByKind: {} };
  for (const line of text.split("\n")) {
    const match = /^tidegate_(\w+?)_total(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const [, name, labels = "", value] = match;
    const reason = /reason="((?:[^"\\]|\\.)*)"/.exec(labels)?.[1] ?? "";
    if (name === "events_received") found.received += Number(value);
    else if (name === "events_emitted") found.emitted += Number(value);
    else if (name === "outputs") found.outputs += Number(value);
    else if (name === "events_dropped") add(found.droppedByReason, reason, Number(value));
    else if (name === "dead_letters") add(found.deadByKind, reason, Number(value));
  }
  return found;
}

/**
 * @param {Record<string, number>} counts
 * @param {string} name
 * @param {number} count
 */
function add(counts, name, count) {
  counts[name] = (counts[name] ?? 0) + count;
}

/**
 * @param {string} url
 * @returns {Promise<string[]>} Those with events in the replay cache.
 */
export async function companies(url) {
  const stats = await (await answered(url, "/stream/stats")).json();
  return Object.keys(stats.replayCache.eventsByCompany).sort();
}

/** @typedef {{ id: string, type: string, data: string }} Received */

/**
 * Where the host stands: a cursor for any company, since of a cursor only the place counts.
 * @param {string} url
 * @returns {Promise<string>}
 */
export async function place(url) {
  const stream = await answered(url, "/stream/updates?companyId=nobody&errors=http");
  if (stream.body) for await (const { id, type } of blocks(stream.body)) if (type === "ready" && id) return id;
  throw new Error("the host didn't say where it stands");
}

/**
 * Sequence and time in the source, which stand in every id.
 * @param {string} id An event's, or a place.
 */
export function placed(id) {
  const [, sequence, time] = id.split("-");
  return { sequence: Number(sequence), time: Number(time) };
}

/**
 * A company's events up to now, as a browser with this cursor gets them.
 * @param {string} url
 * @param {string} company
 * @param {string} cursor `earliest`, say.
 * @returns {Promise<Received[]>}
 */
export async function replay(url, company, cursor) {
  const query = new URLSearchParams({ companyId: company, lastEventId: cursor, errors: "http" });
  const stream = await answered(url, `/stream/updates?${query}`);
  if (!stream.body) throw new Error(`the stream of ${company} has no body`);
  /** @type {Received[]} */
  const events = [];
  for await (const { id, type, data } of blocks(stream.body)) {
    if (type === "caught-up") {
      if (JSON.parse(data).replayed !== events.length) throw new Error(`${company}: ${data}, but ${events.length} came`);
      return events;
    }
    if (type === "gap" || type === "bye") throw new Error(`the stream of ${company} said ${type}: ${data}`);
    if (type !== "ready" && type !== "heartbeat") events.push({ id, type, data });
  }
  throw new Error(`the stream of ${company} ended before it had caught up`);
}

/** @param {AsyncIterable<Uint8Array>} body */
async function* blocks(body) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    const whole = text.split("\n\n");
    text = whole.pop() ?? "";
    for (const block of whole) {
      const fields = { id: "", event: "", data: /** @type {string[]} */ ([]) };
      for (const line of block.split("\n")) {
        const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (name === "data") fields.data.push(value);
        else if (name === "id" || name === "event") fields[name] = value;
      }
      // A block without data is no event: a comment, or `retry`.
      if (fields.data.length > 0) yield { id: fields.id, type: fields.event || "message", data: fields.data.join("\n") };
    }
  }
}

/**
 * @param {string} url
 * @param {string} path
 */
async function answered(url, path) {
  const answer = await fetch(new URL(path, url), { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
  if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${(await answer.text()).trim()}`);
  return answer;
}
