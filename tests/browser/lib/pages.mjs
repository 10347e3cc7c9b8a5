// @ts-check
/** Serves the examples' pages on the origin that the host under test allows. */

import { execFile } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { serve } from "../../../examples/browser/serve.mjs";

const run = promisify(execFile);
const examples = fileURLToPath(new URL("../../../examples/", import.meta.url));

/** @param {"browser" | "react/dist"} example */
export async function servePages(example) {
  const server = await serve(Number(process.env.TIDEGATE_TEST_PAGE_PORT ?? 0), examples + example);
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    origin: `http://127.0.0.1:${port}`,
    async close() {
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, "close");
    },
  };
}

/** Builds the React example, after installing what its lock file names unless that has been done since it changed. */
export async function buildReact() {
  const options = { cwd: `${examples}react`, maxBuffer: 16 << 20 };
  const changedMs = (/** @type {string} */ file) =>
    statSync(`${examples}react/${file}`, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (changedMs("node_modules/.package-lock.json") < changedMs("package-lock.json")) {
    await run("npm", ["ci", "--no-audit", "--no-fund"], options);
  }
  await run("npm", ["run", "build"], options);
}
