import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/error-registry.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";
import { alignSnapshot, type AlignedDisk, type AlignOptions } from "../../src/model/snapshot-align.ts";
import { formatSnapshot } from "../../src/model/snapshot-format.ts";
import { parseSnapshotRequest } from "../../src/model/snapshot-parse.ts";
import { parseSnapshotRedefinition } from "../../src/model/snapshot-redefine.ts";
import type { Snapshot, SnapshotDisk } from "../../src/model/snapshot.ts";
import { validateXml } from "../../src/xml/validate.ts";
import { loadFixtures } from "./fixtures.ts";

const domain = parseDomain(readFileSync(new URL("../fixtures/xml/domain/two-disks.xml", import.meta.url), "utf8"));

/** A request's file may begin with `<!-- domain: WORDS -->`: `inactive`, `paused`, `disk-only`, `live`, `reuse`. Otherwise it runs. */
function optionsOf(xml: string): AlignOptions {
  const words = /<!-- domain: (.*?) -->/.exec(xml)?.[1]?.split(" ") ?? [];
  const has = (word: string): boolean => words.includes(word);
  return {
    now: 1_700_000_000_999,
    running: !has("inactive"),
    paused: has("paused"),
    diskOnly: has("disk-only"),
    live: has("live"),
    reuseExternal: has("reuse"),
  };
}

/** The snapshot that would exist once the engine has carried the request out. */
function takeSnapshot(xml: string, options: AlignOptions): Snapshot {
  const aligned = alignSnapshot(domain, parseSnapshotRequest(xml), options);
  return {
    name: aligned.name,
    ...(aligned.description === undefined ? {} : { description: aligned.description }),
    parent: "s0",
    creationTime: aligned.creationTime,
    state: aligned.state,
    memory: aligned.memory,
    domainName: domain.name,
    domainUuid: domain.uuid,
    disks: aligned.disks.map(takeDisk),
  };
}

function takeDisk(disk: AlignedDisk): SnapshotDisk {
  if (disk.snapshot !== "external") return disk;
  const { target, snapshot, base, overlay: source, mirror } = disk;
  return { target, snapshot, base, source, ...(mirror ? { mirror: { target: mirror, state: "ready" } } : {}) };
}

function throwsExpected(act: () => unknown, { code, text }: { code: string; text: string }): void {
  assert.throws(act, (error) => {
    assert.ok(isQmError(error, code as ErrorCode), String(error));
    assert.ok(error.message.includes(text), error.message);
    return true;
  });
}

for (const { name, xml, output, expected } of loadFixtures("domainsnapshot")) {
  if (expected === undefined) {
    test(`snapshot ${name}: is aligned and written as recorded, valid by our schema, and may be fed back`, () => {
      validateXml(xml, "domainsnapshot");
      const options = optionsOf(xml);
      const written = formatSnapshot(takeSnapshot(xml, options));
      assert.equal(written, output);
      validateXml(written, "domainsnapshot");
      assert.equal(formatSnapshot(takeSnapshot(written, options)), written);
    });
  } else {
    test(`snapshot ${name}: ${expected.code} ${expected.text}`, () => {
      throwsExpected(() => takeSnapshot(xml, optionsOf(xml)), expected);
    });
  }
}

for (const { name, xml, output, expected } of loadFixtures("redefinition")) {
  if (expected === undefined) {
    test(`redefinition ${name}: is written as recorded, valid by our schema, and reads as the same again`, () => {
      const read = parseSnapshotRedefinition(xml, domain);
      const written = formatSnapshot(read.snapshot, read);
      assert.equal(written, output);
      validateXml(written, "domainsnapshot");
      assert.deepEqual(parseSnapshotRedefinition(written, domain), read);
    });
  } else {
    test(`redefinition ${name}: ${expected.code} ${expected.text}`, () => {
      throwsExpected(() => parseSnapshotRedefinition(xml, domain), expected);
    });
  }
}
