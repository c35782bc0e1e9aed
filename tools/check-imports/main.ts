/** Prints every import that `rules.ts` does not permit; exit code 1 when there is one. */
import { fileURLToPath } from "node:url";
import { findViolations } from "./find-violations.ts";
import { readImports } from "./read-imports.ts";
import { permittedImports } from "./rules.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const violations = findViolations(readImports(root, `${root}/node_modules/.bin/tsc`), permittedImports);
for (const violation of violations) console.error(violation);
if (violations.length > 0) process.exitCode = 1;
