// @ts-check
/**
 * Serves a folder of static files on loopback: `node serve.mjs [PORT] [FOLDER]`. It proxies nothing, so the page talks
 * to Tidegate across origins, as a page on another host would.
 */

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** @type {Record<string, string>} */
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/**
 * @param {number} port 0 picks a free one.
 * @param {string} folder
 * @returns {Promise<import("node:http").Server>} Listening.
 */
export function serve(port, folder) {
  const root = resolve(folder);
  const server = createServer((request, response) => {
    void answer(root, request, response).catch(() => response.destroy());
  });
  return new Promise((listening, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", () => listening(server));
  });
}

/**
 * @param {string} root
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
async function answer(root, request, response) {
  const file = fileOf(root, request.url ?? "/");
  const type = file && TYPES[extname(file)];
  const found = file && type && (await stat(file).catch(() => null));
  if (!file || !type || !found || !found.isFile() || (request.method !== "GET" && request.method !== "HEAD")) {
    response.writeHead(404, { "Content-Type": "text/plain" }).end("not found\n");
    return;
  }
  response.writeHead(200, { "Content-Type": type, "Content-Length": found.size, "Cache-Control": "no-store" });
  if (request.method === "HEAD") response.end();
  else createReadStream(file).on("error", () => response.destroy()).pipe(response);
}

/**
 * @param {string} root
 * @param {string} url
 * @returns {string | null} A path inside `root`.
 */
function fileOf(root, url) {
  try {
    const path = decodeURIComponent(new URL(url, "http://localhost").pathname);
    const file = normalize(join(root, path.endsWith("/") ? `${path}index.html` : path));
    return file.startsWith(root + sep) && !file.includes("\0") ? file : null;
  } catch {
    return null; // Not an address.
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[3] ?? fileURLToPath(new URL(".", import.meta.url));
  const server = await serve(Number(process.argv[2] ?? 8080), folder);
  const address = server.address();
  const port = typeof address === "object" ? address?.port : address;
  console.log(`http://127.0.0.1:${port}/`);
  const end = () => server.close(() => process.exit(0)) && server.closeAllConnections();
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
}
