/** An EventSource for tests: they say what the host sends. */

import type { Source } from "./stream-client.js";

export class FakeEventSource extends EventTarget implements Source {
  static made: FakeEventSource[] = [];
  readyState = 0;

  constructor(readonly url: string) {
    super();
    FakeEventSource.made.push(this);
  }

  /** The one that was made last. */
  static get newest(): FakeEventSource {
    const newest = FakeEventSource.made.at(-1);
    if (!newest) throw new Error("no connection was made");
    return newest;
  }

  static get open(): FakeEventSource[] {
    return FakeEventSource.made.filter((source) => source.readyState !== 2);
  }

  get query() {
    return Object.fromEntries(new URL(this.url).searchParams);
  }

  send(type: string, data: unknown, lastEventId = "") {
    this.readyState = 1;
    this.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data), lastEventId }));
  }

  fail(readyState: 0 | 2) {
    this.readyState = readyState;
    this.dispatchEvent(new Event("error"));
  }

  close() {
    this.readyState = 2;
  }
}
