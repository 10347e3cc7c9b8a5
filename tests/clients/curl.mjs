// @ts-check
/** curl in a loop, with the id of the last whole block in `Last-Event-ID`: what a shell script does. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { address, report, TYPES } from "./report.mjs";

const AGAIN_MS = 200;
let last = "";
for (;;) {
  const cursor = last === "" ? [] : ["-H", `Last-Event-ID: ${last}`];
  const curl = spawn("curl", ["-sN", ...cursor, address], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(curl, "close");
  let [type, id, data] = ["", "", ""];
  for await (const line of createInterface({ input: curl.stdout })) {
    if (line.startsWith("event: ")) type = line.slice(7);
    else if (line.startsWith("data: ")) data = line.slice(6);
    else if (line.startsWith("id: ")) id = line.slice(4);
    else if (line === "") {
      if (id !== "") last = id;
      if (TYPES.includes(type)) report(type, id, data);
      [type, id, data] = ["", "", ""];
    }
  }
  await ended;
  await pause(AGAIN_MS);
}
