import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import test from "node:test";
import type { RecordedSchema } from "../../../src/testing/schema-types.ts";
import { generateQapi } from "../../../tools/qapi-gen/generate.ts";

const schema: RecordedSchema = {
  version: "1.2.3",
  schema: [
    { "meta-type": "command", name: "add-node", "arg-type": "1", "ret-type": "0" },
    { "meta-type": "command", name: "list", "arg-type": "0", "ret-type": "[2]" },
    { "meta-type": "event", name: "NODE_GONE", "arg-type": "0" },
    { "meta-type": "object", name: "0", members: [] },
    {
      "meta-type": "object",
      name: "1",
      members: [
        { name: "driver", type: "3" },
        { name: "read-only", type: "bool", default: null },
      ],
      tag: "driver",
      variants: [
        { case: "raw", type: "2" },
        { case: "odd", type: "0" },
      ],
    },
    {
      "meta-type": "object",
      name: "2",
      members: [{ name: "file", type: "4", features: ["deprecated"] }],
    },
    { "meta-type": "enum", name: "3", values: ["raw", "odd"] },
    { "meta-type": "alternate", name: "4", members: [{ type: "str" }, { type: "1" }] },
    { "meta-type": "array", name: "[2]", "element-type": "2" },
    { "meta-type": "builtin", name: "str", "json-type": "string" },
    { "meta-type": "builtin", name: "bool", "json-type": "boolean" },
  ],
};
const wishes = {
  commands: ["add-node", "list"],
  events: ["NODE_GONE"],
  drivers: ["raw"],
  openCommands: [],
  typeNames: { AddNodeArgs: "NodeOptions", NodeOptionsRaw: "RawOptions" },
};

test("unions, alternates, optional and deprecated members and left-out branches become types", () => {
  const text = generateQapi(schema, wishes).replaceAll(/\s+/g, " ");
  for (const part of [
    `"add-node": { args: NodeOptions; result: Record<string, never> };`,
    `"list": { args: undefined; result: readonly (RawOptions)[] };`,
    `"NODE_GONE": undefined;`,
    `export type NodeOptions = { readonly "read-only"?: boolean; } & (({ readonly driver: "raw" } & RawOptions) | `,
    `{ readonly driver: Exclude<"raw" | "odd", "raw">; readonly [option: string]: unknown });`,
    `export type RawOptions = { /** @deprecated by QEMU */ readonly file: string | NodeOptions; };`,
  ]) {
    assert.ok(text.includes(part), `${part}\nis not in\n${text}`);
  }
});

test("a wish that the schema lacks, and a name for no type, are errors", () => {
  assert.throws(() => generateQapi(schema, { ...wishes, commands: ["gone"] }), /no 'gone'/);
  assert.throws(() => generateQapi(schema, { ...wishes, typeNames: { Nothing: "X" } }), /names for no type: Nothing/);
});

test("the generated file is what the recorded schema gives", () => {
  const main = fileURLToPath(new URL("../../../tools/qapi-gen/main.ts", import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [main, "--check"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
});
