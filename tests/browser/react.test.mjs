// @ts-check
/** The React example, built and served as static files. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, visit } from "./lib/browser.mjs";
import { host, newCompany } from "./lib/host.mjs";
import { buildReact, servePages } from "./lib/pages.mjs";
import { until } from "./lib/until.mjs";

const WAIT_MS = 20_000;
const LIMIT = { timeout: 60_000 };

/** @type {Awaited<ReturnType<typeof servePages>>} */
let pages;
/** @type {Awaited<ReturnType<typeof host>>} */
let shared;
/** @type {import("playwright-core").Browser} */
let browser;

before(
  async () => {
    await buildReact();
    pages = await servePages("react/dist");
    [shared, browser] = await Promise.all([host(pages.origin), launch()]);
  },
  { timeout: 240_000 },
);

after(async () => {
  await browser?.close();
  await shared?.stop();
  await pages?.close();
});

/** @param {string} company */
function open(company) {
  return visit(browser, `${pages.origin}/?${new URLSearchParams({ server: shared.url, companyId: company })}`);
}

/**
 * @param {string} company
 * @param {number} count
 */
function connections(company, count) {
  return until(`${count} connections`, WAIT_MS, async () => (await shared.connections(company)) === count);
}

/**
 * @param {import("playwright-core").Page} page
 * @param {string} state
 */
function stateIs(page, state) {
  return until(`the state is ${state}`, WAIT_MS, async () => (await page.textContent("#state")) === state);
}

/** @param {import("playwright-core").Page} page */
async function valuesIn(page) {
  const values = await page.locator("#events li code").evaluateAll((all) =>
    all.map((one) => JSON.parse(one.textContent ?? "{}").value),
  );
  return values.reverse();
}

/**
 * @param {string} company
 * @param {number[]} values
 */
function metrics(company, values) {
  return values.map((value) => ({ companyId: company, metricName: "n", value }));
}

test("mounted it holds one connection, unmounted none, and mounting again misses nothing", LIMIT, async () => {
  const company = newCompany();
  const { page, errors, close } = await open(company);
  await stateIs(page, "live");
  await connections(company, 1);
  await shared.publish("metrics.calculated", metrics(company, [1, 2, 3]));
  await until("three events", WAIT_MS, async () => (await valuesIn(page)).length === 3);
  assert.deepEqual(await valuesIn(page), [1, 2, 3]);

  await page.click("#mount");
  await connections(company, 0);
  await shared.publish("metrics.calculated", metrics(company, [4, 5]));
  await page.click("#mount");
  await stateIs(page, "live");
  await until("two events", WAIT_MS, async () => (await valuesIn(page)).length === 2);
  assert.deepEqual(await valuesIn(page), [4, 5]);
  await connections(company, 1);
  assert.deepEqual(errors, []);
  await close();
  await connections(company, 0);
});

test("another company closes the old stream", LIMIT, async () => {
  const [first, second] = [newCompany(), newCompany()];
  const { page, errors, close } = await open(first);
  await connections(first, 1);
  await shared.publish("metrics.calculated", metrics(first, [1]));
  await until("one event", WAIT_MS, async () => (await valuesIn(page)).length === 1);
  await page.fill("input[name=company]", second);
  await page.click("form button");
  await connections(second, 1);
  await connections(first, 0);
  assert.deepEqual(await valuesIn(page), []);
  assert.deepEqual(errors, []);
  await close();
});

test("a gap is shown with its reason", LIMIT, async () => {
  const company = newCompany();
  const { page, errors, close } = await open(company);
  await stateIs(page, "live");
  await page.click("#mount");
  await page.evaluate((id) => sessionStorage.setItem(`tidegate:last-id:${id}`, "no-such-place"), company);
  await page.click("#mount");
  await until("the gap is shown", WAIT_MS, () => page.locator("#gap").isVisible());
  assert.match((await page.textContent("#gap")) ?? "", /missed \(unknown-cursor\)/);
  await stateIs(page, "live");
  assert.deepEqual(errors, []);
  await close();
});

test("with a token the stream goes over fetch, and is closed alike", LIMIT, async () => {
  const company = newCompany();
  const { page, errors, close } = await open(company);
  await stateIs(page, "live");
  /** @type {string[]} */
  const authorized = [];
  page.on("request", (request) => {
    const { authorization } = request.headers();
    if (authorization) authorized.push(authorization);
  });
  await page.fill("input[name=token]", "not.checked.here");
  await page.click("form button");
  await until("a request with the token", WAIT_MS, async () => authorized.length > 0);
  assert.equal(authorized[0], "Bearer not.checked.here");
  await stateIs(page, "live");
  await connections(company, 1);
  await shared.publish("metrics.calculated", metrics(company, [1, 2]));
  await until("two events", WAIT_MS, async () => (await valuesIn(page)).length === 2);
  await page.click("#mount");
  await connections(company, 0);
  assert.deepEqual(errors, []);
  await close();
});
