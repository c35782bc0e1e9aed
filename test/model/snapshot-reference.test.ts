import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { diskspecKeys } from "../../src/model/diskspec.ts";
import { memspecKeys } from "../../src/model/memspec.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";
import type { Disk, DomainDefinition } from "../../src/model/domain.ts";
import { alignSnapshot, externalDisks, type AlignedSnapshot } from "../../src/model/snapshot-align.ts";
import { formatSnapshot } from "../../src/model/snapshot-format.ts";
import { parseSnapshotRequest } from "../../src/model/snapshot-parse.ts";
import { parseSnapshotRedefinition } from "../../src/model/snapshot-redefine.ts";
import { diskSnapshotKinds, memoryKinds, snapshotStates } from "../../src/model/snapshot.ts";
import { validateXml } from "../../src/xml/validate.ts";

const page = readFileSync(new URL("../../docs/reference/xml-snapshot.md", import.meta.url), "utf8");
const examples = [...page.matchAll(/```xml\n(.*?)```/gs)].map(([, xml = ""]) => xml);
const isRecord = (xml: string): boolean => xml.includes("<state>");

const usual = parseDomain(readFileSync(new URL("../fixtures/xml/domain/usual.xml", import.meta.url), "utf8"));
const disk = (target: string, path: string): Disk => ({
  target,
  bus: "virtio",
  device: "disk",
  readonly: false,
  source: { type: "file", path, format: "qcow2" },
});
const web: DomainDefinition = { ...usual, disks: [disk("vda", "/srv/web.qcow2"), disk("vdb", "/srv/data.qcow2")] };

function align(xml: string): AlignedSnapshot {
  const options = { now: 0, running: true, paused: false, diskOnly: false, live: false, reuseExternal: false };
  return alignSnapshot(web, parseSnapshotRequest(xml), options);
}

test("the reference's requests are valid by the schema and mean what the page says", () => {
  const requests = examples.filter((xml) => !isRecord(xml));
  for (const xml of requests) validateXml(xml, "domainsnapshot");
  const [mirrored, full, block] = requests.map((xml) => align(xml));
  assert.ok(mirrored !== undefined && full !== undefined && block !== undefined);
  assert.equal(mirrored.state, "disk-snapshot");
  assert.equal(externalDisks(mirrored)[0]?.mirror?.path, "/nas/vda.s1");
  assert.deepEqual(full.memory, { snapshot: "external", file: "/ssd/web.s2.mem" });
  assert.deepEqual(
    externalDisks(full).map(({ overlay }) => overlay.path),
    ["/srv/web.s2", "/dev/vg/data.s2"],
  );
  assert.equal(externalDisks(block)[0]?.mirror?.type, "block");
});

test("the reference's record is read and given back as it stands", () => {
  const [record, second] = examples.filter(isRecord);
  assert.ok(record !== undefined && second === undefined);
  validateXml(record, "domainsnapshot");
  const uuid = "c7a5fdbd-edaf-9455-926a-d65c16db1809";
  assert.equal(formatSnapshot(parseSnapshotRedefinition(record, { name: "web", uuid }).snapshot), record);
});

test("the file names that the reference tells are those that are made", () => {
  const request = "<domainsnapshot><name>s1</name><memory snapshot='external'/></domainsnapshot>";
  const { memory, disks } = align(request);
  assert.equal(memory.file, "/srv/web.s1.mem");
  assert.ok(page.includes(`\`${memory.file}\``) && page.includes("`/srv/web.s1`"));
  assert.equal(disks[0]?.snapshot === "external" && disks[0].overlay.path, "/srv/web.s1");
});

test("the reference names every kind, every state and every key of a diskspec and a memspec", () => {
  const words = [...diskSnapshotKinds, ...memoryKinds, ...snapshotStates];
  for (const word of words) assert.ok(page.includes(`\`${word}\``), word);
  for (const key of diskspecKeys) assert.ok(page.includes(`[,${key}=`), key);
  for (const key of memspecKeys) assert.ok(page.includes(`${key}=`), key);
  assert.ok(page.includes(`[,snapshot=${diskSnapshotKinds.join("|")}]`));
  assert.ok(page.includes(`[,snapshot=${memoryKinds.join("|")}]`));
});
