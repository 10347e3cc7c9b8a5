// Load for a running Tidegate, for those who use k6:
//
//   k6 run -e TIDEGATE_URL=http://127.0.0.1:3007 -e TIDEGATE_INGEST_TOKEN=… tests/k6/streaming-load.js
//
// Further settings: COMPANY (load-test), CONNECTIONS (100), RATE (1000 events a second), SECONDS (60), TOKEN (a JWT).
//
// It opens streams and publishes events, and judges connection success and errors. It does NOT measure latency: k6 has no
// module for Server-Sent Events, and its http.get hands a stream over only at its end, so it can't see when an event
// arrives. The latencies, and that every connection gets every event once and in order, come from our own client:
// `cargo xtask loadtest`.
import http from 'k6/http';
import { check } from 'k6';
import { Counter, Rate } from 'k6/metrics';

const url = __ENV.TIDEGATE_URL || 'http://127.0.0.1:3007';
const company = __ENV.COMPANY || 'load-test';
const connections = Number(__ENV.CONNECTIONS || 100);
const rate = Number(__ENV.RATE || 1000);
const seconds = Number(__ENV.SECONDS || 60);
// Events of a tenth of a second go in one request: that k6 keeps up says nothing about the host.
const requestsPerSecond = Math.min(10, rate);
const eventsPerRequest = Math.round(rate / requestsPerSecond);

const opened = new Rate('stream_opened');
const errors = new Counter('stream_errors');
const published = new Counter('events_published');
const received = new Counter('events_received');

export const options = {
  discardResponseBodies: false,
  scenarios: {
    streams: {
      executor: 'per-vu-iterations',
      exec: 'stream',
      vus: connections,
      iterations: 1,
      maxDuration: `${seconds + 30}s`,
    },
    events: {
      executor: 'constant-arrival-rate',
      exec: 'publish',
      // The streams are open by then.
      startTime: '1s',
      duration: `${Math.max(1, seconds - 1)}s`,
      rate: requestsPerSecond,
      timeUnit: '1s',
      preAllocatedVUs: 4,
      maxVUs: 20,
    },
  },
  thresholds: {
    stream_opened: ['rate>=0.95'],
    stream_errors: ['count<10'],
    'checks{kind:publish}': ['rate>=0.99'],
  },
};

// A stream has no end: the request runs into its timeout on purpose, which k6 reports as error code 1050.
const TIMED_OUT = 1050;

export function stream() {
  const headers = { Accept: 'text/event-stream' };
  if (__ENV.TOKEN) {
    headers.Authorization = `Bearer ${__ENV.TOKEN}`;
  }
  const answer = http.get(`${url}/stream/updates?companyId=${company}`, {
    headers,
    timeout: `${seconds}s`,
    tags: { kind: 'stream' },
  });
  // Open to the end is what is wanted; an answer before it is a refusal, or a stream that the host ended.
  const ok = answer.error_code === TIMED_OUT;
  opened.add(ok);
  if (!ok) {
    errors.add(1);
  }
  if (answer.body) {
    received.add(String(answer.body).split('\nid: ').length - 1);
  }
}

export function publish() {
  const lines = [];
  for (let n = 0; n < eventsPerRequest; n += 1) {
    lines.push(JSON.stringify({ companyId: company, metricName: 'load', value: Math.random(), at: Date.now() }));
  }
  const answer = http.post(`${url}/ingest/metrics.calculated`, lines.join('\n'), {
    headers: {
      Authorization: `Bearer ${__ENV.TIDEGATE_INGEST_TOKEN || ''}`,
      'Content-Type': 'application/x-ndjson',
    },
    tags: { kind: 'publish' },
  });
  if (check(answer, { 'events are taken': (r) => r.status === 202 }, { kind: 'publish' })) {
    published.add(eventsPerRequest);
  }
}

export function handleSummary(data) {
  const value = (name, field) => (data.metrics[name] ? data.metrics[name].values[field] : 0);
  const text = [
    '',
    `streams open to the end   ${(100 * value('stream_opened', 'rate')).toFixed(1)} % of ${connections}`,
    `stream errors             ${value('stream_errors', 'count')}`,
    `events published          ${value('events_published', 'count')}`,
    'latency                   not measured here: k6 can\'t see when an event of a stream arrives;',
    '                          `cargo xtask loadtest` measures it event by event',
    '',
  ].join('\n');
  return { stdout: text };
}
