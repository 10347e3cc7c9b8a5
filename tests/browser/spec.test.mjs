// @ts-check
/** The page the specification's users have today: a bare EventSource, four types, the last id in localStorage. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, visit } from "./lib/browser.mjs";
import { host, newCompany, noBinary, ownHost } from "./lib/host.mjs";
import { servePages } from "./lib/pages.mjs";
import { until } from "./lib/until.mjs";

const WAIT_MS = 20_000;
const LIMIT = { timeout: 60_000 };

/** @type {Awaited<ReturnType<typeof servePages>>} */
let pages;
/** @type {Awaited<ReturnType<typeof host>>} */
let shared;
/** @type {import("playwright-core").Browser} */
let browser;

before(async () => {
  pages = await servePages("browser");
  [shared, browser] = await Promise.all([host(pages.origin), launch()]);
});

after(async () => {
  await browser?.close();
  await shared?.stop();
  await pages?.close();
});

/**
 * @param {string} server
 * @param {string} company
 */
function addressOf(server, company) {
  return `${pages.origin}/spec-client.html?${new URLSearchParams({ server, companyId: company })}`;
}

/** @param {import("playwright-core").Page} page */
async function linesIn(page) {
  return page.locator("#events li").evaluateAll((all) =>
    all.map((line) => {
      const { id = "", type = "" } = /** @type {HTMLElement} */ (line).dataset;
      return { id, type, data: JSON.parse(line.textContent ?? "{}") };
    }),
  );
}

/**
 * @param {import("playwright-core").Page} page
 * @param {number} count
 */
function linesShown(page, count) {
  return until(`the page shows ${count} events`, WAIT_MS, async () => (await linesIn(page)).length >= count);
}

/**
 * @param {string} server
 * @param {string} company
 * @param {number} count
 */
function connected(server, company, count) {
  return until(`${count} connections`, WAIT_MS, async () => {
    const answer = await fetch(`${server}/stream/stats`).catch(() => null);
    const stats = await answer?.json();
    return (stats?.connections.connectionsByCompany[company] ?? 0) === count;
  });
}

test("the four event types arrive, each from its subject", LIMIT, async () => {
  const company = newCompany();
  const { page, errors, close } = await visit(browser, addressOf(shared.url, company));
  await connected(shared.url, company, 1);
  const published = [
    ["metrics.calculated", "metric_updated", { companyId: company, metricName: "integration_score", value: 0.85 }],
    ["metrics.sroi", "sroi_updated", { companyId: company, value: 3.2 }],
    ["q2q.vis", "vis_updated", { companyId: company, value: 71 }],
    ["journey.flag", "journey_flag_updated", { companyId: company, flag: "onboarded", active: true, userId: "u-1" }],
  ];
  for (const [subject, , data] of published) {
    await shared.publish(/** @type {string} */ (subject), [/** @type {object} */ (data)]);
  }
  await linesShown(page, published.length);
  const lines = await linesIn(page);
  assert.deepEqual(
    lines.map(({ type, data }) => [type, data]),
    published.map(([, type, data]) => [type, data]),
  );
  for (const [n, { id }] of lines.entries()) assert.match(id, new RegExp(`^${published[n][0]}-\\d+-\\d{13}$`));
  assert.deepEqual(errors, []);
  await close();
});

test("opened again, it gets what came meanwhile, once", LIMIT, async () => {
  const company = newCompany();
  const events = Array.from({ length: 30 }, (_, n) => ({ companyId: company, metricName: "n", value: n + 1 }));
  const { page, errors, close } = await visit(browser, addressOf(shared.url, company));
  await connected(shared.url, company, 1);
  await shared.publish("metrics.calculated", events.slice(0, 10));
  await linesShown(page, 10);
  await page.goto("about:blank");
  await connected(shared.url, company, 0);
  await shared.publish("metrics.calculated", events.slice(10, 20));
  await page.goto(addressOf(shared.url, company));
  await linesShown(page, 10);
  await shared.publish("metrics.calculated", events.slice(20));
  await linesShown(page, 20);
  const values = (await linesIn(page)).map(({ data }) => data.value);
  assert.deepEqual(values, Array.from({ length: 20 }, (_, n) => n + 11));
  assert.deepEqual(errors, []);
  await close();
});

test("a restart of the server loses and doubles nothing", { skip: noBinary, ...LIMIT }, async () => {
  const own = await ownHost(pages.origin);
  try {
    const company = newCompany();
    const events = Array.from({ length: 30 }, (_, n) => ({ companyId: company, metricName: "n", value: n + 1 }));
    const { page, close } = await visit(browser, addressOf(own.url, company));
    await connected(own.url, company, 1);
    await own.publish("metrics.calculated", events.slice(0, 15));
    await linesShown(page, 15);
    await own.halt();
    await own.start();
    await own.publish("metrics.calculated", events.slice(15));
    await linesShown(page, 30);
    const values = (await linesIn(page)).map(({ data }) => data.value);
    assert.deepEqual(values, events.map(({ value }) => value));
    await close();
  } finally {
    await own.stop();
  }
});
