// Makes the component: `node build.mjs COMPONENTIZE_JS WIT OUT`, in the project's folder. `tidegate build` runs it.
//
// The files are copied to a folder of their own, so that no path of the project ends in the component. Its bytes are
// others in each build all the same: the interpreter's snapshot holds seeds that are drawn while it is made.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [tool, wit, out] = process.argv.slice(2).map((path) => resolve(path));
const project = process.cwd();
const desk = mkdtempSync(join(tmpdir(), "tidegate-js-"));

try {
  const mine = (path) => basename(path) !== "node_modules" && !basename(path).startsWith(".");
  for (const entry of readdirSync(project, { withFileTypes: true })) {
    const wanted = (entry.isDirectory() || /\.(m?js|json)$/.test(entry.name)) && mine(entry.name);
    if (wanted) cpSync(join(project, entry.name), join(desk, entry.name), { recursive: true, filter: mine });
  }
  // The entry lies at the root: what it imports is looked for below.
  writeFileSync(join(desk, "entry.js"), readFileSync(join(desk, "tidegate-guest/js/entry.js")));
  process.chdir(desk);
  const { componentize } = await import(pathToFileURL(join(tool, "src/componentize.js")).href);
  const { component } = await componentize({
    sourcePath: "entry.js",
    witPath: wit,
    worldName: "filter",
    // Whatever asks for an operating system: a filter has none.
    disableFeatures: ["stdio", "random", "clocks", "http", "fetch-event"],
  });
  writeFileSync(out, component);
} catch (problem) {
  console.error(String(problem.message).replaceAll(`${desk}/`, ""));
  process.exitCode = 1;
} finally {
  process.chdir(project);
  rmSync(desk, { recursive: true, force: true });
}
