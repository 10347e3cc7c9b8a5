// @ts-check
/**
 * One company's stream in a browser: an EventSource that keeps its place and says what it missed.
 *
 * No dependencies and no build step. The place is the last id the stream gave; it is kept in `storage`, and the next
 * stream that is opened with the same storage goes on right after it. Control events move the place, too, so a quiet
 * stream's place does not grow old.
 *
 * An id is kept after `onEvent` returned. A page that crashes inside its handler therefore sees that event again.
 */

/** The event types of the built-in platform filter. */
export const EVENT_TYPES = ["metric_updated", "sroi_updated", "vis_updated", "journey_flag_updated"];

/** The host sends a heartbeat at least every 30 s: twice that in silence is a dead connection. */
const SILENCE_MS_MAX = 60_000;
const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 30_000;

/**
 * What the stream is doing. `connecting`: for the first time; `catching-up`: events from before are being sent;
 * `live`: events come as they happen; `reconnecting`: the connection is lost and will be made again; `closed`: over.
 * @typedef {"connecting" | "catching-up" | "live" | "reconnecting" | "closed"} StreamState
 */

/**
 * More about a state, where it is known.
 * @typedef {object} StateDetail
 * @property {string} [reason] Why it reconnects: the host's `bye` reason, or `connection-lost`, `silent`, `refused`.
 * @property {number} [retryInMs] When the next attempt starts, where this module decides it.
 * @property {Refusal} [refusal] What the host answered instead of a stream.
 * @property {number} [replayed] With `live`: how many events of the past were sent before.
 */

/**
 * An HTTP answer that is no stream.
 * @typedef {object} Refusal
 * @property {number} status The HTTP status, such as 403.
 * @property {string} error The host's short name for it.
 * @property {string} message The host's explanation.
 */

/**
 * One event.
 * @typedef {object} StreamEvent
 * @property {string} type Such as `metric_updated`.
 * @property {string} id Its id, which is also a cursor.
 * @property {any} data The parsed JSON; `undefined` if it is no JSON.
 * @property {string} text The data as it came.
 */

/**
 * Events exist or existed that this client will not get.
 * @typedef {object} Gap
 * @property {string | null} from The id after which events are missing, if it could be read.
 * @property {string | null} to The place where the gap ends.
 * @property {number | null} missed How many events; `null` where nobody can know.
 * @property {string} reason `trimmed`, `unknown-cursor`, `source-lost`, `overflow` or `store-lost`.
 */

/**
 * What this module needs of an EventSource.
 * @typedef {object} Source
 * @property {(type: string, listener: (event: any) => void) => void} addEventListener
 * @property {() => void} close
 * @property {number} readyState 0: connecting, 1: open, 2: closed for good.
 * @property {Refusal | null} [refusal] Filled by transports that can read the HTTP answer, before the `error` event.
 * @property {number | null} [retryMs] The stream's latest `retry:`, for transports that do not reconnect by themselves.
 */

/**
 * @typedef {object} StreamOptions
 * @property {string} url The endpoint, such as `http://127.0.0.1:3007/stream/updates`.
 * @property {string} companyId Whose events.
 * @property {readonly string[]} [types] Which event types to listen to; the platform filter's four by default.
 * @property {Pick<Storage, "getItem" | "setItem"> | null} [storage] Where the last id is kept, such as `sessionStorage`.
 * @property {string} [storageKey] Under which key; one per company by default.
 * @property {boolean} [withCredentials] Send cookies to another origin.
 * @property {(address: string) => Source} [connect] Makes the connection; a native EventSource by default.
 * @property {number} [silenceMsMax] After how much silence a connection counts as dead, in milliseconds.
 * @property {(event: StreamEvent) => void} [onEvent]
 * @property {(state: StreamState, detail: StateDetail) => void} [onState]
 * @property {(gap: Gap) => void} [onGap]
 */

/**
 * An open stream.
 * @typedef {object} Stream
 * @property {() => void} close Ends it; `closed` is the last state, and nothing is called back after that.
 * @property {string | null} lastEventId Where it stands.
 * @property {number} heardAtMs When the host was last heard (any event or heartbeat), in milliseconds since 1970.
 * @property {number} connections How many connections the host has answered for this stream.
 */

/**
 * Opens a company's stream after the last id in `storage`, or live from now if there is none.
 * @param {StreamOptions} options
 * @returns {Stream}
 */
export function openStream(options) {
  const { companyId, types = EVENT_TYPES, storage = null, withCredentials = false } = options;
  const { onEvent, onState, onGap, silenceMsMax = SILENCE_MS_MAX } = options;
  const storageKey = options.storageKey ?? `tidegate:last-id:${companyId}`;
  const native = (/** @type {string} */ address) => new EventSource(address, { withCredentials });
  const connect = options.connect ?? native;

  /** @type {Source | null} */
  let source = null;
  let lastEventId = recall();
  let heardAtMs = Date.now();
  let connections = 0;
  let attempts = 0;
  let waitMsMin = 0;
  let ended = false;
  /** @type {string | null} */
  let byeReason = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let retryTimer;
  /** @type {AbortController | null} */
  let question = null;
  const watch = setInterval(replaceIfSilent, Math.max(50, silenceMsMax / 6));

  /** @returns {string | null} */
  function recall() {
    try {
      return storage?.getItem(storageKey) || null;
    } catch {
      return null; // Storage may be switched off; the stream works without, for as long as the page lives.
    }
  }

  /** @param {string} id */
  function keep(id) {
    if (!id || id === lastEventId) return;
    lastEventId = id;
    try {
      storage?.setItem(storageKey, id);
    } catch {
      // As above: full or switched off.
    }
  }

  function address() {
    const address = new URL(options.url, globalThis.location?.href);
    address.searchParams.set("companyId", companyId);
    if (lastEventId) address.searchParams.set("lastEventId", lastEventId);
    return address.href;
  }

  function open() {
    drop();
    heardAtMs = Date.now();
    const opened = connect(address());
    source = opened;
    // A source that was replaced may still have events queued: only the present one counts.
    const on = (/** @type {string} */ type, /** @type {(event: MessageEvent) => void} */ handle) =>
      opened.addEventListener(type, (event) => {
        if (source !== opened) return;
        heardAtMs = Date.now();
        try {
          handle(event);
        } finally {
          keep(event.lastEventId);
        }
      });

    on("ready", (event) => {
      connections += 1;
      attempts = 0;
      byeReason = null;
      onState?.(parse(event.data)?.resumed ? "catching-up" : "live", {});
    });
    on("caught-up", (event) => onState?.("live", { replayed: parse(event.data)?.replayed }));
    on("gap", (event) => {
      const { from = null, to = null, missed = null, reason = "" } = parse(event.data) ?? {};
      onGap?.({ from, to, missed, reason });
    });
    on("bye", (event) => {
      byeReason = parse(event.data)?.reason ?? null;
    });
    on("heartbeat", () => {});
    for (const type of new Set(types)) {
      on(type, (event) => onEvent?.({ type, id: event.lastEventId, data: parse(event.data), text: event.data }));
    }
    opened.addEventListener("error", () => {
      if (source === opened) failed(opened);
    });
  }

  /** @param {Source} failing */
  function failed(failing) {
    heardAtMs = Date.now();
    if (failing.readyState === 0) {
      // The browser tries again by itself, with the newest id in its header.
      onState?.("reconnecting", { reason: byeReason ?? "connection-lost" });
    } else if (failing.readyState === 2) {
      const refusal = failing.refusal ?? null;
      const asked = address();
      // Like a native one's, it counts until the host says another.
      waitMsMin = Math.min(BACKOFF_MS_MAX, failing.retryMs ?? waitMsMin);
      drop();
      retry(refusal ? "refused" : (byeReason ?? "connection-lost"), refusal);
      if (!refusal && connect === native) void ask(asked);
    }
  }

  /**
   * Closed for good: an EventSource never tries again after an answer that is no stream.
   * @param {string} reason
   * @param {Refusal | null} refusal
   */
  function retry(reason, refusal) {
    clearTimeout(retryTimer);
    // A refusal is seldom over in a second, and thousands of clients must not come back in the same one.
    const ceiling = refusal ? BACKOFF_MS_MAX : Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** attempts);
    const retryInMs = Math.max(waitMsMin, Math.round(ceiling * (0.5 + Math.random() / 2)));
    attempts += 1;
    retryTimer = setTimeout(open, retryInMs);
    onState?.("reconnecting", { reason, retryInMs, ...(refusal && { refusal }) });
  }

  /**
   * Asks once more with `fetch`, which can read the status that an EventSource hides.
   * @param {string} asked
   */
  async function ask(asked) {
    const asking = new AbortController();
    question = asking;
    const { signal } = asking;
    try {
      const credentials = withCredentials ? "include" : "same-origin";
      const headers = { Accept: "text/event-stream" };
      const answer = await fetch(asked, { headers, credentials, signal, cache: "no-store" });
      if (answer.ok) return;
      const body = await answer.json().catch(() => ({}));
      if (signal.aborted) return;
      retry("refused", { status: answer.status, error: body.error ?? "", message: body.message ?? "" });
    } catch {
      // Nobody there, or another origin without leave to read: the retry under way says enough.
    } finally {
      // Ends an answer that turned out to be a stream.
      asking.abort();
    }
  }

  function replaceIfSilent() {
    // Waiting for a retry is no silence.
    if (!source || Date.now() - heardAtMs <= silenceMsMax) return;
    drop();
    retry("silent", null);
  }

  function drop() {
    clearTimeout(retryTimer);
    retryTimer = undefined;
    question?.abort();
    question = null;
    source?.close();
    source = null;
  }

  // A page in the back-forward cache must hold no connection, and goes on when it is shown again.
  function hidden() {
    drop();
  }
  /** @param {PageTransitionEvent} event */
  function shown(event) {
    if (event.persisted && !source) open();
  }
  function online() {
    if (retryTimer !== undefined) open();
  }
  globalThis.addEventListener?.("pagehide", hidden);
  globalThis.addEventListener?.("pageshow", shown);
  globalThis.addEventListener?.("online", online);

  onState?.("connecting", {});
  open();

  return {
    close() {
      if (ended) return;
      ended = true;
      clearInterval(watch);
      globalThis.removeEventListener?.("pagehide", hidden);
      globalThis.removeEventListener?.("pageshow", shown);
      globalThis.removeEventListener?.("online", online);
      drop();
      onState?.("closed", {});
    },
    get lastEventId() {
      return lastEventId;
    },
    get heardAtMs() {
      return heardAtMs;
    },
    get connections() {
      return connections;
    },
  };
}

/**
 * @param {string} text
 * @returns {any} `undefined` if it is no JSON.
 */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
