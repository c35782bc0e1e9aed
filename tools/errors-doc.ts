/**
 * Writes `docs/reference/errors.md` from the registry.
 *   node tools/errors-doc.ts
 *   node tools/errors-doc.ts --check   writes nothing; exit code 1 when the file is not what the registry gives
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format, resolveConfig } from "prettier";
import { errorRegistry, type ErrorEntry } from "../src/base/error-registry.ts";

const path = fileURLToPath(new URL("../docs/reference/errors.md", import.meta.url));

const introduction = `# Errors

Generated from \`src/base/error-registry.ts\` by \`tools/errors-doc.ts\`: do not edit.

The codes are stable. \`{name}\` is a field of the error: \`fields\` has it in the HTTP API and with \`--json\`, so that no program need
parse a message. Further fields may be there. _Next_ is what the error says about what to do.

`;

const rows = Object.entries<ErrorEntry>(errorRegistry).map(([code, { message, http, libvirt, exit, next = "" }]) =>
  [`\`${code}\``, escapeCell(message), http, exit, libvirt, escapeCell(next)].join(" | "),
);
const table = [
  "code | message | HTTP status | exit code | libvirt | next",
  "--- | --- | --- | --- | --- | ---",
  ...rows,
];
const draft = introduction + table.map((row) => `| ${row} |\n`).join("");
const text = await format(draft, { ...(await resolveConfig(path)), filepath: path });

if (!process.argv.includes("--check")) writeFileSync(path, text);
else if (readFileSync(path, "utf8") !== text) {
  console.error("docs/reference/errors.md is not what the registry gives: run `node tools/errors-doc.ts`");
  process.exitCode = 1;
}

/** `<` would begin an HTML tag, `|` the next cell. */
function escapeCell(cell: string): string {
  return cell.replaceAll("|", "\\|").replaceAll("<", "\\<");
}
