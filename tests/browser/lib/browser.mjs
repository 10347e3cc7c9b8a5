// @ts-check
/** A headless Chromium, and the pages it shows. */

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Launches Chromium; TIDEGATE_TEST_CHROMIUM names another one than Debian's. */
export async function launch() {
  const executablePath = process.env.TIDEGATE_TEST_CHROMIUM ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) {
    throw new Error(`${executablePath} is missing: apt-get install chromium, or set TIDEGATE_TEST_CHROMIUM`);
  }
  return chromium.launch({ executablePath, headless: true, args: ARGUMENTS });
}

/**
 * Opens an address in a tab of its own storage. What goes wrong in the page fails the test.
 * @param {import("playwright-core").Browser} browser
 * @param {string} address
 */
export async function visit(browser, address) {
  const context = await browser.newContext();
  const page = await context.newPage();
  /** @type {string[]} */
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(address);
  return { page, errors, close: () => context.close() };
}
