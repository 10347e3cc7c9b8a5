// @ts-check
/**
 * The host under test: the one at TIDEGATE_TEST_URL, or a demo host that is started here, on a free port and a new
 * folder, and stopped by its process id.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./until.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 30_000;
const LOG_CHARS_MAX = 64 * 1024;

/** The binary that is started where a test needs a host of its own. */
export const binary = resolve(process.env.TIDEGATE_TEST_BIN ?? join(here, "../../target/debug/tidegate"));

/** Why no host of our own can be started, or `false`: fits `skip` of a test. */
export const noBinary = existsSync(binary) ? false : `${binary} is missing: set TIDEGATE_TEST_BIN`;

/** The host of TIDEGATE_TEST_URL. */
export class Host {
  /**
   * @param {string} url
   * @param {string} token
   */
  constructor(url, token) {
    this.url = url.replace(/\/+$/, "");
    this.token = token;
  }

  /**
   * Publishes events over HTTP and waits until they are accepted.
   * @param {string} subject
   * @param {object[]} events
   */
  async publish(subject, events) {
    /** @type {Record<string, string>} */
    const headers = { "Content-Type": "application/x-ndjson" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    const body = events.map((event) => `${JSON.stringify(event)}\n`).join("");
    const answer = await fetch(`${this.url}/ingest/${subject}`, { method: "POST", headers, body });
    if (answer.status !== 202) throw new Error(`ingest answered ${answer.status}: ${await answer.text()}`);
    await answer.arrayBuffer();
  }

  /**
   * How many connections of this company the host counts.
   * @param {string} company
   * @returns {Promise<number>}
   */
  async connections(company) {
    const answer = await fetch(`${this.url}/stream/stats`);
    const { connections } = await answer.json();
    return connections.connectionsByCompany[company] ?? 0;
  }

  async stop() {}
}

/** A host that belongs to the test. */
export class OwnHost extends Host {
  /**
   * @param {number} port
   * @param {string} folder
   * @param {string} origin
   */
  constructor(port, folder, origin) {
    super(`http://127.0.0.1:${port}`, "browser-tests-ingest-token");
    this.folder = folder;
    /** @type {NodeJS.ProcessEnv} */
    this.environment = {
      ...process.env,
      PORT_ANALYTICS: String(port),
      TIDEGATE_HOST: "127.0.0.1",
      TIDEGATE_ADMIN_LISTEN: "127.0.0.1:0",
      TIDEGATE_INGEST_TOKEN: this.token,
      TIDEGATE_DATA: join(folder, "data"),
      TIDEGATE_MODULES: join(folder, "modules"),
      ...(origin && { TIDEGATE_CORS: origin }),
    };
    for (const name of ["NATS_URL", "REDIS_URL", "TIDEGATE_ACCESS", "STREAMING_ENABLED"]) delete this.environment[name];
    this.log = "";
    /** @type {import("node:child_process").ChildProcess | null} */
    this.process = null;
  }

  /** Starts it, or starts it again on the same port and folder. */
  async start() {
    const child = spawn(binary, ["demo"], { cwd: this.folder, env: this.environment, stdio: ["ignore", "pipe", "pipe"] });
    this.process = child;
    // A test run that is cut off leaves no host behind.
    process.once("exit", () => child.kill("SIGKILL"));
    const keep = (/** @type {Buffer} */ text) => (this.log = (this.log + text).slice(-LOG_CHARS_MAX));
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    child.once("error", (error) => (this.log += `\n${error}`));
    await until("the host is ready", START_MS_MAX, async () => {
      if (child.exitCode !== null) throw new Error(`the host ended with ${child.exitCode}:\n${this.log}`);
      const answer = await fetch(`${this.url}/readyz`).catch(() => null);
      await answer?.arrayBuffer();
      return answer?.status === 200;
    });
  }

  /** Asks it to end and waits until it has. */
  async halt() {
    const child = this.process;
    this.process = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    const force = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    child.kill("SIGTERM");
    await ended;
    clearTimeout(force);
  }

  async stop() {
    await this.halt();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/**
 * The host of TIDEGATE_TEST_URL, or one of our own that allows `origin`.
 * @param {string} origin
 */
export async function host(origin) {
  const url = process.env.TIDEGATE_TEST_URL;
  return url ? new Host(url, process.env.TIDEGATE_TEST_INGEST_TOKEN ?? "") : ownHost(origin);
}

/** @param {string} origin */
export async function ownHost(origin) {
  if (noBinary) throw new Error(noBinary);
  const own = new OwnHost(await freePort(), await mkdtemp(join(tmpdir(), "tidegate-browser-")), origin);
  try {
    await own.start();
  } catch (error) {
    await own.stop();
    throw error;
  }
  return own;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  server.close();
  await once(server, "close");
  return port;
}

let companies = 0;

/** A company that no other test uses, so that its events are those of one test alone. */
export function newCompany() {
  companies += 1;
  return `browser-${process.pid}-${Date.now()}-${companies}`;
}
