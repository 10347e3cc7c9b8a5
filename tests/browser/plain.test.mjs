// @ts-check
/** The plain JavaScript example in a real browser. */

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
  return `${pages.origin}/index.html?${new URLSearchParams({ server, companyId: company })}`;
}

/**
 * @param {string} company
 * @param {number} from
 * @param {number} to
 */
function metrics(company, from, to) {
  return Array.from({ length: to - from + 1 }, (_, n) => ({ companyId: company, metricName: "n", value: from + n }));
}

/**
 * The values shown, oldest first, and their ids.
 * @param {import("playwright-core").Page} page
 */
async function shownIn(page) {
  const rows = await page.locator("#events tr").evaluateAll((all) =>
    all.map((row) => ({
      id: /** @type {HTMLElement} */ (row).dataset.id ?? "",
      value: JSON.parse(row.lastElementChild?.textContent ?? "{}").value,
    })),
  );
  return rows.reverse();
}

/**
 * @param {import("playwright-core").Page} page
 * @param {number} value
 */
function lastValue(page, value) {
  return until(`the page shows ${value}`, WAIT_MS, async () => (await shownIn(page)).at(-1)?.value === value);
}

/**
 * @param {import("playwright-core").Page} page
 * @param {RegExp} state
 */
function stateIs(page, state) {
  return until(`the state is ${state}`, WAIT_MS, async () => state.test((await page.textContent("#state")) ?? ""));
}

test("events arrive in order with ids of the specified form", LIMIT, async () => {
  const company = newCompany();
  const { page, errors, close } = await visit(browser, addressOf(shared.url, company));
  await stateIs(page, /^live/);
  await shared.publish("metrics.calculated", metrics(company, 1, 60));
  await lastValue(page, 60);
  const shown = await shownIn(page);
  assert.deepEqual(shown.map(({ value }) => value), metrics(company, 1, 60).map(({ value }) => value));
  for (const { id } of shown) assert.match(id, /^metrics\.calculated-\d+-\d{13}$/);
  assert.deepEqual(errors, []);
  await close();
});

test("a reload goes on after the last id: nothing lost, nothing twice", LIMIT, async () => {
  const company = newCompany();
  const { page, errors, close } = await visit(browser, addressOf(shared.url, company));
  await stateIs(page, /^live/);
  // Events keep coming while the page is away.
  let next = 1;
  let over = false;
  const publishing = (async () => {
    while (!over) {
      await shared.publish("metrics.calculated", metrics(company, next, next + 4));
      next += 5;
    }
  })();
  // Every row that was ever shown is written down, also those the table has dropped since. The page's stream ends in
  // an earlier `pagehide` listener, so nothing is shown after that.
  await page.addInitScript(() => {
    document.addEventListener("DOMContentLoaded", () => {
      const values = JSON.parse(sessionStorage.getItem("seen") ?? "[]");
      const take = (/** @type {MutationRecord[]} */ records) => {
        for (const row of records.flatMap(({ addedNodes }) => [...addedNodes])) {
          if (row instanceof HTMLTableRowElement) values.push(JSON.parse(row.lastElementChild?.textContent ?? "").value);
        }
      };
      const observer = new MutationObserver(take);
      const rows = /** @type {HTMLElement} */ (document.getElementById("events"));
      observer.observe(rows, { childList: true });
      window.addEventListener("pagehide", () => {
        take(observer.takeRecords());
        sessionStorage.setItem("seen", JSON.stringify(values));
      });
    });
  });
  // The first page had no such script: what counts starts with the second.
  await page.reload();
  for (let round = 0; round < 6; round += 1) {
    await until("new events are shown", WAIT_MS, async () => (await shownIn(page)).length > 10);
    if (round === 5) {
      over = true;
      await publishing;
      await lastValue(page, next - 1);
    }
    await page.reload();
  }
  const seen = await page.evaluate(() => JSON.parse(sessionStorage.getItem("seen") ?? "[]"));
  assert.deepEqual(seen, Array.from({ length: next - seen[0] }, (_, n) => seen[0] + n));
  assert.deepEqual(errors, []);
  await close();
});

test("a place nobody knows is told as a gap", LIMIT, async () => {
  const company = newCompany();
  const { page, errors, close } = await visit(browser, addressOf(shared.url, company));
  await stateIs(page, /^live/);
  await page.evaluate((id) => {
    window.addEventListener("pagehide", () => sessionStorage.setItem(`tidegate:last-id:${id}`, "no-such-place"));
  }, company);
  await page.reload();
  await until("the gap is shown", WAIT_MS, () => page.locator("#gap").isVisible());
  assert.match((await page.textContent("#gap")) ?? "", /missed \(unknown-cursor\)/);
  await stateIs(page, /^live/);
  await shared.publish("metrics.calculated", metrics(company, 1, 1));
  await lastValue(page, 1);
  assert.deepEqual(errors, []);
  await close();
});

test("a refusal is shown with its status and message", LIMIT, async () => {
  const { page, close } = await visit(browser, addressOf(shared.url, newCompany()));
  // The form lets no such company through, so the module is asked directly.
  const detail = await page.evaluate(async (server) => {
    const { openStream } = await import(/* @vite-ignore */ `${location.origin}/stream-client.js`);
    return new Promise((told) => {
      const stream = openStream({
        url: `${server}/stream/updates`,
        companyId: "not/a/company",
        onState: (/** @type {string} */ state, /** @type {any} */ detail) => {
          if (!detail.refusal) return;
          stream.close();
          told({ state, ...detail.refusal });
        },
      });
    });
  }, shared.url);
  assert.equal(detail.state, "reconnecting");
  assert.equal(detail.status, 400);
  assert.notEqual(detail.message, "");
  await close();
});

test("closing the tab gives its connection back", LIMIT, async () => {
  const company = newCompany();
  const { page, close } = await visit(browser, addressOf(shared.url, company));
  await stateIs(page, /^live/);
  await until("one connection", WAIT_MS, async () => (await shared.connections(company)) === 1);
  await close();
  await until("no connection", WAIT_MS, async () => (await shared.connections(company)) === 0);
});

test("a restart of the server is shown, and the stream goes on after it", { skip: noBinary, ...LIMIT }, async () => {
  const own = await ownHost(pages.origin);
  try {
    const company = newCompany();
    const { page, errors, close } = await visit(browser, addressOf(own.url, company));
    await stateIs(page, /^live/);
    await own.publish("metrics.calculated", metrics(company, 1, 20));
    await lastValue(page, 20);
    await own.halt();
    await stateIs(page, /^reconnecting/);
    await own.start();
    await own.publish("metrics.calculated", metrics(company, 21, 40));
    await lastValue(page, 40);
    await stateIs(page, /^live/);
    const values = (await shownIn(page)).map(({ value }) => value);
    assert.deepEqual(values, Array.from({ length: 40 }, (_, n) => n + 1));
    assert.equal(await page.locator("#gap").isVisible(), false);
    assert.deepEqual(errors, []);
    await close();
  } finally {
    await own.stop();
  }
});
