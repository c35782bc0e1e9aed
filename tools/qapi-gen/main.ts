/**
 * Writes `src/qemu/qapi.gen.ts`.
 *   node tools/qapi-gen/main.ts            from the installed QEMU, whose schema is recorded beside it
 *   node tools/qapi-gen/main.ts --schema   from the recorded schema, after a change of `wanted.ts`
 *   node tools/qapi-gen/main.ts --check    writes nothing; exit code 1 when the file is not what the recorded schema gives
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { format, resolveConfig } from "prettier";
import type { RecordedSchema, SchemaEntity } from "../../src/testing/schema-types.ts";
import { fetchSchema } from "./fetch-schema.ts";
import { generateQapi } from "./generate.ts";
import { openCommands, typeNames, wantedCommands, wantedDrivers, wantedEvents } from "./wanted.ts";

const schemaPath = fileURLToPath(new URL("../../src/qemu/qapi-schema-7.2.json", import.meta.url));
const outputPath = fileURLToPath(new URL("../../src/qemu/qapi.gen.ts", import.meta.url));

const { values: options } = parseArgs({
  options: {
    check: { type: "boolean", default: false },
    schema: { type: "boolean", default: false },
    qemu: { type: "string", default: "qemu-system-x86_64" },
  },
});

const recorded =
  options.check || options.schema
    ? (JSON.parse(await readFile(schemaPath, "utf8")) as RecordedSchema)
    : await fetchSchema(options.qemu);
const source = generateQapi(recorded, {
  commands: wantedCommands,
  events: wantedEvents,
  drivers: wantedDrivers,
  openCommands,
  typeNames,
});
const text = await format(source, { ...(await resolveConfig(outputPath)), filepath: outputPath });

if (options.check) {
  if ((await readFile(outputPath, "utf8")) !== text) {
    console.error("src/qemu/qapi.gen.ts is not what its schema gives: run `node tools/qapi-gen/main.ts --schema`");
    process.exitCode = 1;
  }
} else {
  if (!options.schema) await writeFile(schemaPath, formatSchema(recorded));
  await writeFile(outputPath, text);
}

/** One entity a line with sorted keys, so that two versions can be compared. Entities stay in QEMU's order. */
function formatSchema({ version, schema }: RecordedSchema): string {
  const lines = schema.map((entity: SchemaEntity) => JSON.stringify(sortKeys(entity)));
  return `{"version":${JSON.stringify(version)},"schema":[\n${lines.join(",\n")}\n]}\n`;
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sortKeys(member)]),
  );
}
