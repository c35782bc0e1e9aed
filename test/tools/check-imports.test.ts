import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { findViolations } from "../../tools/check-imports/find-violations.ts";
import { readImports } from "../../tools/check-imports/read-imports.ts";

const tsc = fileURLToPath(new URL("../../node_modules/.bin/tsc", import.meta.url));

let project: string;
before(async () => {
  project = await mkdtemp(join(tmpdir(), "qmirror-imports-"));
  const files = {
    "package.json": `{ "type": "module" }`,
    "tsconfig.json": `{ "compilerOptions": { "module": "nodenext", "allowImportingTsExtensions": true }, "include": ["src"] }`,
    "node_modules/@some/package/package.json": `{ "types": "index.d.ts" }`,
    "node_modules/@some/package/index.d.ts": `export declare const value: number;`,
    "src/low/a.ts": `import type { B } from "../high/b.ts";\nexport const a: B = 1;\nexport const wrong: string = 1;`,
    "src/low/inner.ts": `import { a } from "./a.ts";\nexport const inner = a;`,
    "src/high/b.ts": `export type B = number;\nexport type { C } from "./c.ts";\nexport const late = import("@some/package");`,
    "src/high/c.ts": `export type C = import("./b.ts").B;`,
  };
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(project, name)), { recursive: true });
    await writeFile(join(project, name), content);
  }
});
after(() => rm(project, { recursive: true, force: true }));

test("imports of types, re-exports, late imports and packages are all seen, in files with type errors too", () => {
  const { files, imports } = readImports(project, tsc);
  assert.deepEqual(files.toSorted(), ["src/high/b.ts", "src/high/c.ts", "src/low/a.ts", "src/low/inner.ts"]);
  assert.deepEqual(imports.map(({ from, to }) => `${from} > ${to}`).toSorted(), [
    "src/high/b.ts > npm:@some/package",
    "src/high/b.ts > src/high/c.ts",
    "src/high/c.ts > src/high/b.ts",
    "src/low/a.ts > src/high/b.ts",
    "src/low/inner.ts > src/low/a.ts",
  ]);
});

test("what no line permits is named, and so are circles", () => {
  const graph = readImports(project, tsc);
  const circle = "circle: src/high/b.ts -> src/high/c.ts -> src/high/b.ts";
  assert.deepEqual(findViolations(graph, { "src/low": ["src/high"], "src/high": ["npm:@some/package"] }), [circle]);
  assert.deepEqual(findViolations(graph, { "src/low": [], "src/high": [] }).toSorted(), [
    circle,
    "src/high/b.ts imports npm:@some/package: src/high may not",
    "src/low/a.ts imports src/high/b.ts: src/low may not",
  ]);
});

test("a folder without a line is an error, and so is a line without a folder", () => {
  const graph = readImports(project, tsc);
  const violations = findViolations(graph, { "src/low": ["src/high"], "src/hig": [] });
  assert.deepEqual(violations.filter((violation) => !violation.startsWith("circle")).toSorted(), [
    "src/high/b.ts: its folder has no line in tools/check-imports/rules.ts",
    "src/high/c.ts: its folder has no line in tools/check-imports/rules.ts",
    "tools/check-imports/rules.ts: there is no src/hig",
  ]);
});
