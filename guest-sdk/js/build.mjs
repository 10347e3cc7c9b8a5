// Makes the component: `node build.mjs COMPONENTIZE_JS OUT`, in the project's folder. `tidegate build` runs it.
//
// The files are copied to a folder of their own, in which every path that ends in the component is the same on each
// machine and for each project: the same sources give the same bytes.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [tool, out] = process.argv.slice(2).map((path) => resolve(path));
const project = process.cwd();
const desk = mkdtempSync(join(tmpdir(), "tidegate-js-"));

try {
  const mine = (path) => !["node_modules", "desk"].includes(basename(path)) && !basename(path).startsWith(".");
  for (const entry of readdirSync(project, { withFileTypes: true })) {
    const wanted = entry.isDirectory() || /\.(m?js|json)$/.test(entry.name);
    if (wanted && mine(entry.name)) cpSync(join(project, entry.name), join(desk, entry.name), { recursive: true, filter: mine });
  }
  // The entry lies at the root: what it imports is looked for below.
  writeFileSync(join(desk, "entry.js"), readFileSync(join(desk, "tidegate-guest/js/entry.js")));
  process.chdir(desk);
  // The tool names a folder for its work at random, and the name ends in the component.
  process.env.TMPDIR = ".";
  Math.random = () => 0.5;
  const { componentize } = await import(pathToFileURL(join(tool, "src/componentize.js")).href);
  const { component } = await componentize({
    sourcePath: "entry.js",
    witPath: "tidegate-guest/wit/v1",
    worldName: "filter",
    // Whatever asks for an operating system: a filter has none.
    disableFeatures: ["stdio", "random", "clocks", "http", "fetch-event"],
  });
  writeFileSync(out, component);
} catch (problem) {
  console.error(problem.message.replaceAll(`${desk}/`, ""));
  process.exitCode = 1;
} finally {
  process.chdir(project);
  rmSync(desk, { recursive: true, force: true });
}
