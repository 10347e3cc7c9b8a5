/** A company's stream as a React hook. */

import { useEffect, useRef, useState } from "react";
import { fetchSource, type Token } from "./fetchSource";
import { EVENT_TYPES, openStream, type Gap, type StateDetail, type StreamEvent, type StreamState } from "./stream-client.js";

// Events are shown in steps: a render for each of a thousand events a second would be all the page does.
const FLUSH_MS = 50;

/** What to stream. Changing any of `url`, `companyId`, `types` or `storage` closes the stream and opens another. */
export interface TidegateStreamOptions {
  /** The endpoint, such as `http://127.0.0.1:3007/stream/updates`. */
  url: string;
  /** Whose events. */
  companyId: string;
  /** Event types to listen to; the platform filter's four by default. A new array with the same types is no change. */
  types?: readonly string[];
  /** How many events `events` holds; 100 by default. */
  limit?: number;
  /** Where the last id is kept; `sessionStorage` by default, `null` for nowhere. */
  storage?: Pick<Storage, "getItem" | "setItem"> | null;
  /** Sent as `Authorization: Bearer …`. A function is asked at each connection. Without it: a native EventSource. */
  token?: Token;
  /** Send cookies to another origin. */
  withCredentials?: boolean;
  /** Called for each event, even those that `events` no longer holds. */
  onEvent?: (event: StreamEvent) => void;
}

/** What came so far. */
export interface TidegateStream {
  /** The newest events, oldest first. */
  events: readonly StreamEvent[];
  /** What the stream is doing. */
  state: StreamState;
  /** More about the state, such as why it reconnects. */
  detail: StateDetail;
  /** The newest gap, `null` while nothing is known to be missing. */
  gap: Gap | null;
  /** Where the stream stands. */
  lastEventId: string | null;
}

const NOTHING: TidegateStream = { events: [], state: "connecting", detail: {}, gap: null, lastEventId: null };

/** Streams a company's events for as long as the component is mounted. */
export function useTidegateStream(options: TidegateStreamOptions): TidegateStream {
  const { url, companyId, storage, withCredentials = false } = options;
  const types = JSON.stringify(options.types ?? EVENT_TYPES);
  const hasToken = options.token !== undefined;
  const [shown, setShown] = useState<{ of: string; stream: TidegateStream }>({ of: "", stream: NOTHING });
  const of = JSON.stringify([url, companyId, types, withCredentials, hasToken]);

  // What may change without a new connection.
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });

  useEffect(() => {
    let next: TidegateStream = NOTHING;
    let timer: ReturnType<typeof setTimeout> | undefined;

    function show(change: Partial<TidegateStream>) {
      next = { ...next, ...change };
      timer ??= setTimeout(flush, FLUSH_MS);
    }
    function flush() {
      timer = undefined;
      next = { ...next, lastEventId: stream.lastEventId };
      setShown({ of, stream: next });
    }
    function tokenNow() {
      const token = latest.current.token ?? "";
      return typeof token === "string" ? token : token();
    }

    const stream = openStream({
      url,
      companyId,
      types: JSON.parse(types),
      storage: storage === undefined ? sessionStorageOrNull() : storage,
      withCredentials,
      ...(hasToken && {
        connect: (address: string) => fetchSource(address, tokenNow, withCredentials ? "include" : "same-origin"),
      }),
      onEvent(event) {
        const limit = Math.max(1, latest.current.limit ?? 100);
        show({ events: [...next.events, event].slice(-limit) });
        latest.current.onEvent?.(event);
      },
      onGap: (gap) => show({ gap }),
      onState: (state, detail) => show({ state, detail }),
    });

    return () => {
      stream.close();
      clearTimeout(timer);
    };
  }, [of, url, companyId, types, storage, withCredentials, hasToken]);

  // Until the new stream has said something, nothing of the old one's company is shown.
  return shown.of === of ? shown.stream : NOTHING;
}

function sessionStorageOrNull() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null; // Switched off.
  }
}
