import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { diskspecKeys } from "../../src/model/diskspec.ts";
import { interfaceModels } from "../../src/model/device-parse.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";
import type { Disk } from "../../src/model/domain.ts";
import { alignSnapshot } from "../../src/model/snapshot-align.ts";
import { parseSnapshotRequest } from "../../src/model/snapshot-parse.ts";

const page = readFileSync(new URL("../../docs/reference/xml.md", import.meta.url), "utf8");
const examples = [...page.matchAll(/```xml\n(.*?)```/gs)].map(([, xml = ""]) => xml);

test("the examples of the reference are read, and its snapshots fit a domain", () => {
  const domains = examples.filter((xml) => xml.startsWith("<domain ")).map((xml) => parseDomain(xml));
  const requests = examples.filter((xml) => xml.startsWith("<domainsnapshot")).map((xml) => parseSnapshotRequest(xml));
  assert.deepEqual([domains.length, requests.length], [1, 2]);
  const [web] = domains;
  assert.ok(web !== undefined);
  const [vda] = web.disks;
  assert.ok(vda !== undefined);
  const vdb: Disk = { ...vda, target: "vdb", source: { type: "file", path: "/srv/data.raw", format: "raw" } };
  for (const request of requests) {
    const aligned = alignSnapshot({ ...web, disks: [vda, vdb] }, request, { now: 0, reuseExternal: false });
    assert.ok(aligned.disks[0]?.mirror !== undefined);
  }
});

test("the reference names every network model and every key of a diskspec", () => {
  for (const word of interfaceModels) assert.ok(page.includes(`\`${word}\``), word);
  for (const key of diskspecKeys) assert.ok(page.includes(`[,${key}=`), key);
});
