import { act, cleanup, renderHook } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeEventSource } from "./fakeEventSource";
import { useTidegateStream, type TidegateStreamOptions } from "./useTidegateStream";

const URL_OF_HOST = "http://host.test/stream/updates";

beforeEach(() => {
  vi.useFakeTimers();
  FakeEventSource.made = [];
  sessionStorage.clear();
  vi.stubGlobal("EventSource", FakeEventSource);
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function start(options: Partial<TidegateStreamOptions> = {}) {
  return renderHook((props: TidegateStreamOptions) => useTidegateStream(props), {
    initialProps: { url: URL_OF_HOST, companyId: "company-a", ...options },
    wrapper: StrictMode,
  });
}

function settle(work: () => void) {
  act(() => {
    work();
    vi.advanceTimersByTime(100);
  });
}

test("strict mode leaves one open connection, and unmounting none", () => {
  const { unmount } = start();
  expect(FakeEventSource.open).toHaveLength(1);
  unmount();
  expect(FakeEventSource.open).toHaveLength(0);
  expect(vi.getTimerCount()).toBe(0);
});

test("events arrive in order, parsed, with their ids, up to the limit", () => {
  const seen: number[] = [];
  const { result } = start({ limit: 3, onEvent: ({ data }) => seen.push(data.value) });
  settle(() => {
    FakeEventSource.newest.send("ready", { resumed: false }, "at-0-0000000000000");
    for (let n = 1; n <= 5; n += 1) FakeEventSource.newest.send("metric_updated", { value: n }, `m-${n}-1`);
  });
  expect(result.current.state).toBe("live");
  expect(result.current.events.map(({ data }) => data.value)).toEqual([3, 4, 5]);
  expect(seen).toEqual([1, 2, 3, 4, 5]);
  expect(result.current.lastEventId).toBe("m-5-1");
});

test("a gap is told with its count and reason", () => {
  const { result } = start();
  settle(() => FakeEventSource.newest.send("gap", { from: "m-1-1", to: "at-9-1", missed: 8, reason: "trimmed" }, "at-9-1"));
  expect(result.current.gap).toEqual({ from: "m-1-1", to: "at-9-1", missed: 8, reason: "trimmed" });
  expect(result.current.lastEventId).toBe("at-9-1");
});

test("another company closes the old stream and shows nothing of it", () => {
  const { result, rerender } = start();
  const old = FakeEventSource.newest;
  settle(() => old.send("metric_updated", { value: 1 }, "m-1-1"));
  expect(result.current.events).toHaveLength(1);

  rerender({ url: URL_OF_HOST, companyId: "company-b" });
  expect(old.readyState).toBe(2);
  expect(FakeEventSource.open).toHaveLength(1);
  expect(FakeEventSource.newest.query).toEqual({ companyId: "company-b" });
  expect(result.current.events).toEqual([]);
  settle(() => old.send("metric_updated", { value: 2 }, "m-2-1"));
  expect(result.current.events).toEqual([]);
});

test("mounting again goes on after the last id", () => {
  const first = start();
  settle(() => FakeEventSource.newest.send("metric_updated", { value: 1 }, "m-1-1"));
  first.unmount();
  start();
  expect(FakeEventSource.newest.query).toEqual({ companyId: "company-a", lastEventId: "m-1-1" });
});

test("a new array with the same types keeps the connection, other types make a new one", () => {
  const { rerender } = start({ types: ["metric_updated"] });
  const made = FakeEventSource.made.length;
  rerender({ url: URL_OF_HOST, companyId: "company-a", types: ["metric_updated"] });
  expect(FakeEventSource.made).toHaveLength(made);
  rerender({ url: URL_OF_HOST, companyId: "company-a", types: ["vis_updated"] });
  expect(FakeEventSource.made).toHaveLength(made + 1);
  expect(FakeEventSource.open).toHaveLength(1);
});

test("a stream that was closed for good is opened again with its place", () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("nobody there")));
  const { result } = start();
  settle(() => FakeEventSource.newest.send("metric_updated", { value: 1 }, "m-1-1"));
  const old = FakeEventSource.newest;
  settle(() => old.fail(2));
  expect(result.current.state).toBe("reconnecting");
  settle(() => vi.advanceTimersByTime(1_000));
  expect(FakeEventSource.newest).not.toBe(old);
  expect(FakeEventSource.newest.query.lastEventId).toBe("m-1-1");
});

test("a token goes into a header, and a refusal is told", async () => {
  const fetched = vi.fn((_address: string, _init: RequestInit) =>
    Promise.resolve(new Response(JSON.stringify({ error: "Forbidden", message: "not yours" }), { status: 403 })),
  );
  vi.stubGlobal("fetch", fetched);
  const { result } = start({ token: () => "secret" });
  await act(() => vi.advanceTimersByTimeAsync(100));
  const [address, init] = fetched.mock.calls.at(-1)!;
  expect(address).not.toContain("secret");
  expect(init.headers).toMatchObject({ Authorization: "Bearer secret" });
  expect(result.current.state).toBe("reconnecting");
  expect(result.current.detail.refusal).toEqual({ status: 403, error: "Forbidden", message: "not yours" });
  expect(FakeEventSource.made).toHaveLength(0);
});
