import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";
import { alignSnapshot } from "../../src/model/snapshot-align.ts";
import { formatSnapshot } from "../../src/model/snapshot-format.ts";
import { parseSnapshotRequest } from "../../src/model/snapshot-parse.ts";
import type { Snapshot } from "../../src/model/snapshot.ts";
import { validateXml } from "../../src/xml/validate.ts";
import { loadFixtures } from "./fixtures.ts";

const domain = parseDomain(readFileSync(new URL("../fixtures/xml/domain/two-disks.xml", import.meta.url), "utf8"));

/** The snapshot that would exist once the engine has carried the request out. */
function takeSnapshot(xml: string): Snapshot {
  const aligned = alignSnapshot(domain, parseSnapshotRequest(xml), { now: 1_700_000_000_999, reuseExternal: false });
  return {
    name: aligned.name,
    ...(aligned.description === undefined ? {} : { description: aligned.description }),
    parent: "s0",
    creationTime: aligned.creationTime,
    state: "disk-snapshot",
    domainName: domain.name,
    domainUuid: domain.uuid,
    disks: domain.disks.map(({ target }) => {
      const disk = aligned.disks.find((one) => one.target === target);
      if (disk === undefined) return { target, snapshot: "no" };
      const mirror = disk.mirror === undefined ? {} : { mirror: { target: disk.mirror, state: "ready" as const } };
      return { target, snapshot: "external", source: disk.overlay, base: disk.base, ...mirror };
    }),
  };
}

for (const { name, xml, output, expected } of loadFixtures("domainsnapshot")) {
  if (expected === undefined) {
    test(`snapshot ${name}: is aligned and written as recorded, valid by our schema, and may be fed back`, () => {
      const written = formatSnapshot(takeSnapshot(xml));
      assert.equal(written, output);
      validateXml(written, "domainsnapshot");
      assert.equal(formatSnapshot(takeSnapshot(written)), written);
    });
  } else {
    test(`snapshot ${name}: ${expected.code} ${expected.text}`, () => {
      assert.throws(
        () => takeSnapshot(xml),
        (error) => isQmError(error) && error.code === expected.code && error.message.includes(expected.text),
      );
    });
  }
}
