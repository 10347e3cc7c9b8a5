// @ts-check
/** GitHub's own examples of its webhooks: fetched from npm once, kept in the cache, never part of the repository. */

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const PACKAGE = "@octokit/webhooks-examples";
/** Pinned, so that two runs publish the same. */
const VERSION = "7.6.1";
const NPM_MS_MAX = 180_000;

/** @typedef {{ event: string, lines: string[] }} Group One webhook event with all its payloads, each JSON on one line. */

/**
 * @param {string} [folder] The unpacked package, where it is already there.
 * @returns {Promise<{ origin: string, groups: Group[] }>}
 */
export async function load(folder) {
  const origin = folder ?? (await fetched());
  /** @type {Map<string, string[]>} */
  const groups = new Map();
  // A folder for github.com and one for each version of GitHub Enterprise Server.
  for (const set of (await readdir(origin, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = join(origin, set.name, "index.json");
    if (!set.isDirectory() || !(await exists(file))) continue;
    for (const { name, examples } of JSON.parse(await readFile(file, "utf8"))) {
      const lines = groups.get(name) ?? [];
      groups.set(name, lines);
      for (const payload of examples) lines.push(JSON.stringify(payload));
    }
  }
  if (groups.size === 0) throw new Error(`${origin} holds no */index.json: is it the unpacked ${PACKAGE}?`);
  return { origin, groups: [...groups].map(([event, lines]) => ({ event, lines })) };
}

/** @returns {Promise<string>} */
async function fetched() {
  const cache = cacheFolder();
  const kept = join(cache, `webhooks-examples-${VERSION}`);
  if (await exists(join(kept, "package.json"))) return kept;
  await mkdir(cache, { recursive: true });
  // Beside its place, so that the rename is one step and two runs at once can't mix their files.
  const work = await mkdtemp(join(cache, "webhooks-examples-"));
  try {
    const name = `${PACKAGE}@${VERSION}`;
    const pack = ["pack", name, "--pack-destination", work, "--json", "--loglevel=error"];
    const { stdout } = await run("npm", pack, { cwd: work, timeout: NPM_MS_MAX }).catch((error) => {
      throw new Error(`${name} can't be fetched: ${String(error.stderr || error.message).trim()}\nto use a copy: --payloads FOLDER`);
    });
    // npm has named scoped packages in two ways: what it wrote is what counts.
    const archive = (await readdir(work)).find((file) => file.endsWith(".tgz"));
    if (!archive) throw new Error(`npm left no package: ${stdout.trim()}`);
    await run("tar", ["-xzf", join(work, archive), "-C", work]);
    await rename(join(work, "package"), kept).catch(async (error) => {
      if (!(await exists(join(kept, "package.json")))) throw error;
    });
    return kept;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The same folder as `cargo xtask` keeps its downloads in. */
function cacheFolder() {
  const { TIDEGATE_CACHE, XDG_CACHE_HOME } = process.env;
  return TIDEGATE_CACHE || (XDG_CACHE_HOME ? join(XDG_CACHE_HOME, "tidegate") : join(homedir(), ".cache", "tidegate"));
}

/** @param {string} path */
export async function exists(path) {
  return stat(path).then(
    () => true,
    () => false,
  );
}
