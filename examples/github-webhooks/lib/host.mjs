// @ts-check
/** A Tidegate host of our own: built where it is missing, started on free ports and temporary folders, ended. */

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { exists } from "./payloads.mjs";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const SETTINGS = fileURLToPath(new URL("../modules/", import.meta.url));
const READY_MS_MAX = 60_000;
const END_MS_MAX = 20_000;
const LINES_MAX = 20_000;

/**
 * @typedef {object} Options
 * @property {string} [tidegate] The binary.
 * @property {string} [module] The filter.
 * @property {string} [nats] A NATS server for it; without one it uses its embedded log.
 * @property {string} [page] The origin of a page that may read the streams.
 * @property {(line: string) => void} say
 */

/**
 * @typedef {object} Host
 * @property {string} url
 * @property {string} token For `/ingest`.
 * @property {() => Record<string, any>[]} log Its log lines so far.
 * @property {() => Promise<void>} end
 */

/**
 * @param {Options} options
 * @returns {Promise<Host>} Ready.
 */
export async function start({ tidegate, module, nats, page, say }) {
  const { binary, filter } = await built({ tidegate, module, say });
  const folder = await mkdtemp(join(tmpdir(), "tidegate-github-"));
  try {
    await layOut(filter, join(folder, "modules"));
    return await run(binary, folder, { nats, page });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/**
 * The platform filter for all, and for single companies the shipped filters that this example has settings for.
 * @param {string} filter
 * @param {string} modules
 */
async function layOut(filter, modules) {
  await mkdir(join(modules, "_platform"), { recursive: true });
  await copyFile(filter, join(modules, "_platform", "10-github.wasm"));
  for (const file of await readdir(SETTINGS, { recursive: true })) {
    const name = /\d\d-(\w+)\.toml$/.exec(file)?.[1];
    if (!name) continue;
    await mkdir(dirname(join(modules, file)), { recursive: true });
    await copyFile(join(SETTINGS, file), join(modules, file));
    await copyFile(join(ROOT, "filters", name, `${name}.wasm`), join(modules, file.replace(/toml$/, "wasm")));
  }
}

/** @param {Pick<Options, "tidegate" | "module" | "say">} options */
async function built({ tidegate, module, say }) {
  const target = resolve(ROOT, process.env.CARGO_TARGET_DIR || "target");
  const binary = tidegate ? resolve(tidegate) : join(target, "debug", "tidegate");
  const filter = module ? resolve(module) : join(target, "filters", "github.wasm");
  if (!module && !(await exists(filter))) await cargo(["xtask", "filters"], say);
  if (!tidegate && !(await exists(binary))) await cargo(["build", "-p", "tidegate"], say);
  for (const file of [binary, filter]) if (!(await exists(file))) throw new Error(`${file} isn't there`);
  return { binary, filter };
}

/**
 * @param {string[]} words
 * @param {Options["say"]} say
 * @returns {Promise<void>}
 */
function cargo(words, say) {
  say(`cargo ${words.join(" ")}`);
  return new Promise((done, failed) => {
    // What it prints is progress: standard output is for the result.
    const child = spawn("cargo", words, { cwd: ROOT, stdio: ["ignore", 2, 2] });
    child.once("error", failed);
    child.once("exit", (code) => (code === 0 ? done() : failed(new Error(`cargo ${words.join(" ")} failed`))));
  });
}

/**
 * @param {string} binary
 * @param {string} folder
 * @param {Pick<Options, "nats" | "page">} options
 * @returns {Promise<Host>}
 */
async function run(binary, folder, { nats, page }) {
  const token = randomBytes(24).toString("hex");
  const ready = join(folder, "ready.json");
  const child = spawn(binary, ["run", "--ready-file", ready], {
    // Not where the user stands: a tidegate.toml there is for another host.
    cwd: folder,
    env: { ...foreignEnvironment(), ...environment({ folder, token, nats, page }) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  /** @type {string[]} */
  const lines = [];
  for (const output of [child.stdout, child.stderr]) {
    createInterface({ input: output }).on("line", (line) => lines.length < LINES_MAX && lines.push(line));
  }
  let gone = "";
  const ended = new Promise((done) => {
    child.once("error", (error) => done((gone = error.message)));
    child.once("close", (code, signal) => done((gone = signal ?? `exit ${code}`)));
  });
  const end = async () => {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), END_MS_MAX);
    await ended;
    clearTimeout(late);
    await rm(folder, { recursive: true, force: true });
  };
  // Whatever happens to us, no host stays behind.
  process.once("exit", () => child.kill("SIGKILL"));
  for (const until = Date.now() + READY_MS_MAX; ; await sleep(20)) {
    if (await exists(ready)) break;
    if (!gone && Date.now() < until) continue;
    await end();
    throw new Error(`the host didn't become ready (${gone || "too slow"}):\n${lines.slice(-20).join("\n")}`);
  }
  const { http } = JSON.parse(await readFile(ready, "utf8"));
  return { url: http, token, log: () => lines.flatMap(parsed), end };
}

/**
 * @param {{ folder: string, token: string } & Pick<Options, "nats" | "page">} options
 * @returns {Record<string, string>}
 */
function environment({ folder, token, nats, page }) {
  return {
    PORT_ANALYTICS: "0",
    TIDEGATE_ADMIN_LISTEN: "127.0.0.1:0",
    TIDEGATE_SUBJECTS: "github.*",
    TIDEGATE_INGEST_TOKEN: token,
    TIDEGATE_DATA: join(folder, "data"),
    TIDEGATE_MODULES: join(folder, "modules"),
    TIDEGATE_LOG: "info",
    TIDEGATE_LOG_FORMAT: "json",
    ...(nats ? { NATS_URL: nats } : {}),
    ...(page ? { TIDEGATE_CORS: page } : {}),
  };
}

/** Ours without what would configure another host. */
function foreignEnvironment() {
  const named = new Set(["NATS_URL", "NATS_CREDS", "REDIS_URL", "DATABASE_URL", "STREAMING_ENABLED", "PORT_ANALYTICS"]);
  return Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !named.has(key) && !key.startsWith("TIDEGATE_")),
  );
}

/** @param {string} line */
function parsed(line) {
  try {
    return [JSON.parse(line)];
  } catch {
    return []; // Not a log line: a panic's text, say.
  }
}
