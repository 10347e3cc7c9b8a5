// @ts-check
/** The demo's page: its switches change the stream while it stays open. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, visit } from "./lib/browser.mjs";
import { host } from "./lib/host.mjs";
import { until } from "./lib/until.mjs";

const WAIT_MS = 20_000;
const LIMIT = { timeout: 90_000 };
const COMPANIES = ["company-a", "company-b", "company-c"];

/** @type {Awaited<ReturnType<typeof host>>} */
let shared;
/** @type {import("playwright-core").Browser} */
let browser;

before(async () => {
  [shared, browser] = await Promise.all([host(""), launch()]);
});

after(async () => {
  await browser?.close();
  await shared?.stop();
});

/**
 * Opens the page and counts the streams it asks for.
 * @returns {Promise<Awaited<ReturnType<typeof visit>> & {streams: string[]}>}
 */
async function openDemo() {
  const visited = await visit(browser, "about:blank");
  /** @type {string[]} */
  const streams = [];
  visited.page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.pathname === "/stream/updates") streams.push(url.searchParams.get("companyId") ?? "");
    if (url.protocol !== "data:" && url.origin !== shared.url) visited.errors.push(`asked elsewhere: ${url}`);
  });
  visited.page.on("console", (message) => {
    if (message.type() === "error") visited.errors.push(message.text());
  });
  await visited.page.goto(`${shared.url}/`);
  for (const company of COMPANIES) await stateIs(visited.page, company, "live");
  return { ...visited, streams };
}

/**
 * @param {import("playwright-core").Page} page
 * @param {string} company
 * @param {string} state
 */
function stateIs(page, company, state) {
  return page.locator(`[data-company="${company}"][data-state="${state}"]`).waitFor({ timeout: WAIT_MS });
}

/**
 * @param {import("playwright-core").Page} page
 * @param {string} company
 */
async function total(page, company) {
  const text = await page.textContent(`[data-company="${company}"] .total`);
  return Number((text ?? "").replace(/\D/g, ""));
}

/**
 * Switches a filter from the keyboard and waits until page and server agree.
 * @param {import("playwright-core").Page} page
 * @param {{company: string, name: string}} filter
 * @param {boolean} on
 */
async function turn(page, { company, name }, on) {
  const button = page.locator(`[data-company="${company}"] [data-filter="${name}"] .switch`);
  await button.focus();
  await page.keyboard.press("Space");
  await until(`${name} is ${on}`, WAIT_MS, async () => {
    const state = [await button.getAttribute("aria-checked"), await button.getAttribute("aria-disabled")];
    return state.join() === `${on},false`;
  });
  const known = (await filters()).find((one) => one.company === company && one.name === name);
  assert.equal(known?.on, on);
}

/** @returns {Promise<{company: string, name: string, title: string, on: boolean}[]>} */
async function filters() {
  const answer = await fetch(`${shared.url}/demo/filters`);
  assert.equal(answer.status, 200);
  return answer.json();
}

test("the page shows three live streams, their events, metrics and flags", LIMIT, async () => {
  const { page, errors, streams, close } = await openDemo();
  for (const company of COMPANIES) {
    await until(`events of ${company}`, WAIT_MS, async () => (await total(page, company)) >= 5);
    await page.locator(`[data-company="${company}"] [data-metric]`).first().waitFor({ timeout: WAIT_MS });
    const id = await page.textContent(`[data-company="${company}"] .last-id code`);
    await until("a last id", WAIT_MS, async () => /-\d+-\d{13}(-\d+)?$/.test(id ?? ""));
  }
  await page.locator(".flag").first().waitFor({ timeout: WAIT_MS });
  assert.deepEqual(streams.toSorted(), COMPANIES);
  assert.deepEqual(errors, []);
  await close();
});

test("a switch changes the stream, and no new connection is made", LIMIT, async () => {
  const { page, errors, streams, close } = await openDemo();
  const filter = (await filters()).find(({ name }) => name.includes("threshold"));
  assert.ok(filter, "the demo has a threshold filter to switch");
  const { company } = filter;
  const listed = async () => {
    const rows = page.locator(`[data-company="${company}"] .metrics .name`);
    return (await rows.allTextContents()).join("|");
  };
  let probes = 0;
  // A metric of its own, whose value lies below any threshold.
  const probe = async () => {
    probes += 1;
    const metricName = `probe_${probes}_${Date.now()}`;
    await shared.publish("metrics.calculated", [{ companyId: company, metricName, value: -1_000_000 }]);
    return metricName;
  };

  if (!filter.on) await turn(page, filter, true);
  const dropped = await probeUntil(probe, async (name) => !(await appears(listed, name)));
  await turn(page, filter, false);
  const passed = await probeUntil(probe, (name) => appears(listed, name));
  await turn(page, filter, true);
  await probeUntil(probe, async (name) => !(await appears(listed, name)));
  assert.ok(!(await listed()).includes(dropped));
  assert.ok((await listed()).includes(passed));

  assert.deepEqual(streams.toSorted(), COMPANIES);
  for (const one of COMPANIES) {
    assert.equal(await page.textContent(`[data-company="${one}"] .connections`), "1");
    await stateIs(page, one, "live");
  }
  assert.equal(await page.locator(".gap:visible").count(), 0);
  assert.deepEqual(errors, []);
  if (!filter.on) await turn(page, filter, false);
  await close();
});

/**
 * Probes until one shows the wanted effect: the chain is swapped a moment after the file has moved.
 * @param {() => Promise<string>} probe
 * @param {(name: string) => Promise<boolean>} wanted
 * @returns {Promise<string>} The probe that did.
 */
async function probeUntil(probe, wanted) {
  let name = "";
  await until("the filter's effect", WAIT_MS, async () => wanted((name = await probe())));
  return name;
}

/**
 * @param {() => Promise<string>} listed
 * @param {string} name
 */
async function appears(listed, name) {
  try {
    await until(name, 1_500, async () => (await listed()).includes(name));
    return true;
  } catch {
    return false;
  }
}

test("a reload keeps the values, and a hidden company holds no connection", LIMIT, async () => {
  const { page, errors, close } = await openDemo();
  await until("events", WAIT_MS, async () => (await total(page, "company-a")) >= 5);
  const before = await total(page, "company-a");
  await page.reload();
  await stateIs(page, "company-a", "live");
  assert.ok((await total(page, "company-a")) >= before);
  assert.equal(await page.locator(".gap:visible").count(), 0);

  const count = await shared.connections("company-c");
  await page.uncheck("input[value=company-c]");
  await until("one connection less", WAIT_MS, async () => (await shared.connections("company-c")) === count - 1);
  assert.equal(await page.locator(".panel").count(), 2);
  await page.check("input[value=company-c]");
  await stateIs(page, "company-c", "live");
  assert.deepEqual(await page.locator(".panel h2").allTextContents(), COMPANIES);
  assert.deepEqual(errors, []);
  await close();
});

test("a place nobody knows is shown as a gap in the feed", LIMIT, async () => {
  const { page, errors, close } = await openDemo();
  await page.evaluate(() => {
    window.addEventListener("pagehide", () => sessionStorage.setItem("tidegate:last-id:company-b", "no-such-place"));
  });
  await page.reload();
  const panel = page.locator('[data-company="company-b"]');
  await panel.locator(".gap").waitFor({ timeout: WAIT_MS });
  assert.match((await panel.locator(".gap span").textContent()) ?? "", /unknown-cursor/);
  await panel.locator('.feed [data-kind="gap"]').waitFor({ timeout: WAIT_MS });
  await panel.locator(".gap button").click();
  assert.equal(await panel.locator(".gap").isVisible(), false);
  assert.deepEqual(errors, []);
  await close();
});
