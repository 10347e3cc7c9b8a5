// @ts-check
/** Waits for what the test can't be told of. */

import { setTimeout as pause } from "node:timers/promises";

/**
 * Asks again until the answer is true.
 * @param {string} what For the error, such as "the host is ready".
 * @param {number} waitMsMax
 * @param {() => Promise<boolean>} question
 */
export async function until(what, waitMsMax, question) {
  const end = Date.now() + waitMsMax;
  while (!(await question())) {
    if (Date.now() > end) throw new Error(`not within ${waitMsMax} ms: ${what}`);
    await pause(50);
  }
}
