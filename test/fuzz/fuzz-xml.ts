/** The XML reader, the two document parsers behind it, and what is made of what they let through. */
import assert from "node:assert/strict";
import { errorRegistry } from "../../src/base/error-registry.ts";
import { isQmError } from "../../src/base/errors.ts";
import type { DomainDefinition } from "../../src/model/domain.ts";
import { formatDomain } from "../../src/model/domain-format.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";
import { parseSnapshotRequest } from "../../src/model/snapshot-parse.ts";
import { buildCommandLine } from "../../src/qemu/command-line.ts";
import type { XmlElement } from "../../src/xml/element.ts";
import { readXml } from "../../src/xml/read.ts";
import { writeXml } from "../../src/xml/write.ts";
import { defineTarget } from "./fuzz-target.ts";
import { xmlInputs } from "./xml-inputs.ts";

const uuid = "12345678-1234-4234-8234-123456789abc";

export const xmlTarget = defineTarget<string>({ inputs: xmlInputs, check: checkDocument });

/** Every refusal is one of the client's faults; what is accepted comes out as it went in, and adds nothing to QEMU's options. */
function checkDocument(text: string): void {
  const root = attempt(() => readXml(text));
  const written = root && attempt(() => writeXml(root));
  if (written !== undefined)
    assert.deepEqual(strip(readXml(written)), strip(root as XmlElement), "written and read again");
  attempt(() => parseSnapshotRequest(text));
  const def = attempt(() => parseDomain(text, { newUuid: () => uuid }));
  if (def === undefined) return;
  const formatted = formatDomain(def);
  const again = parseDomain(formatted, { newUuid: () => uuid });
  assert.equal(formatDomain(again), formatted, "the definition is stable");
  checkCommandLine(def);
}

/** What stands alone, and what takes the next argument, whatever that looks like. */
const flags = new Set(["-nodefaults", "-no-user-config", "-S"]);
const options = new Set(
  "-name -uuid -display -machine -cpu -m -smp -boot -kernel -initrd -append -sandbox -chardev -mon -pidfile -blockdev -device -netdev -serial -vnc -global -rtc -object".split(
    " ",
  ),
);

function checkCommandLine(def: DomainDefinition): void {
  const chains = Object.fromEntries(
    def.disks.flatMap(({ target, source }) => (source === undefined ? [] : [[target, [source] as const]])),
  );
  const paths = { qmpSocket: "/r/q", pidFile: "/r/p", logFile: "/r/l", agentSocket: "/r/a", chains };
  const args = attempt(() => buildCommandLine({ ...def, qemuArgs: [] }, paths));
  if (args === undefined) return;
  let taker: string | undefined;
  for (const arg of args) {
    assert.ok(!arg.includes("\0") && arg.isWellFormed(), `${taker}: no argument can be like that`);
    if (taker !== undefined) {
      taker = undefined;
      continue;
    }
    assert.ok(flags.has(arg) || options.has(arg), `an option that nobody meant: ${arg}`);
    if (options.has(arg)) taker = arg;
  }
  assert.equal(taker, undefined, "an option lacks its value");
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    assert.ok(isQmError(error), `not a QmError: ${error instanceof Error ? error.stack : String(error)}`);
    const { http } = errorRegistry[error.code];
    assert.ok(http >= 400 && http < 500, `${error.code}: ${error.message}`);
    JSON.stringify(error);
    return undefined;
  }
}

/** Lines and the blanks between children change when a document is written anew. */
function strip(element: XmlElement): object {
  const text = element.children.length > 0 ? element.text.trim() : element.text;
  return { ...element, line: 0, text, children: element.children.map(strip) };
}
