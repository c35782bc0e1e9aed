/** Prints every source file of more than 400 lines; exit code 1 when there is one. Generated files do not count. */
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const maxLines = 400;
const source = fileURLToPath(new URL("../src/", import.meta.url));

for (const name of readdirSync(source, { recursive: true, encoding: "utf8" })) {
  if (!name.endsWith(".ts") || name.endsWith(".gen.ts")) continue;
  const lines = readFileSync(source + name, "utf8").split("\n").length - 1;
  if (lines <= maxLines) continue;
  console.error(`src/${name} has ${lines} lines: at most ${maxLines}, one idea a file`);
  process.exitCode = 1;
}
