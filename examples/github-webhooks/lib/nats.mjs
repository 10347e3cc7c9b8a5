// @ts-check
/** Just enough of the NATS protocol to publish: any NATS client does the same. */

import { connect } from "node:net";

const ANSWER_MS_MAX = 30_000;

/**
 * Publishes events; returns once the server has taken them all.
 * @param {string} url `nats://[user:password@]host[:port]`, without TLS.
 * @param {{ subject: string, line: string }[]} events
 * @returns {Promise<void>}
 */
export function publish(url, events) {
  const { hostname, port, username, password } = new URL(url);
  const login = username ? { user: decodeURIComponent(username), pass: decodeURIComponent(password) } : {};
  return new Promise((done, failed) => {
    const socket = connect({ host: hostname, port: Number(port || 4222) });
    const fail = (/** @type {string} */ why) => socket.destroy(new Error(`${hostname}:${port || 4222}: ${why}`));
    let text = "";
    socket.setEncoding("utf8").setTimeout(ANSWER_MS_MAX, () => fail("no answer"));
    socket.once("error", failed).once("close", () => failed(new Error(`${hostname}: the connection was closed`)));
    socket.on("data", (chunk) => {
      const lines = (text + chunk).split("\r\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        if (line.startsWith("INFO ")) {
          socket.write(`CONNECT ${JSON.stringify({ verbose: false, pedantic: false, lang: "node", version: "0", ...login })}\r\n`);
          for (const { subject, line } of events) socket.write(`PUB ${subject} ${Buffer.byteLength(line)}\r\n${line}\r\n`);
          // Answered in order: once the PONG is here, everything before the PING has been taken.
          socket.write("PING\r\n");
        } else if (line === "PING") socket.write("PONG\r\n");
        else if (line.startsWith("-ERR")) fail(line);
        else if (line === "PONG") {
          done();
          socket.end();
        }
      }
    });
  });
}
