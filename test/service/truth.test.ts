import assert from "node:assert/strict";
import { test } from "node:test";
import { planSnapshot } from "../../src/engine/plans/plan-snapshot.ts";
import type { Fact } from "../../src/engine/steps/step.ts";
import type { StoragePlan } from "../../src/engine/steps/storage-plan.ts";
import type { DomainEntry, SnapshotEntry } from "../../src/service/domain-entry.ts";
import { applyToDefinitions, applyToSnapshot } from "../../src/service/truth.ts";
import { sampleDisk, sampleDomain } from "../qemu/sample-domain.ts";

const image = (path: string) => ({ type: "file", path, format: "qcow2" }) as const;
const targets = ["vda", "vdb"];

const plan: StoragePlan = planSnapshot({
  id: "0123456789ab",
  domain: { uuid: "u", name: "web" },
  dialect: "blockdev",
  snapshot: { name: "s1", creationTime: 1 },
  disks: targets.map((target) => ({
    target,
    device: "",
    qdev: target,
    sizeBytes: 4096,
    cache: { direct: false, noFlush: false, discard: "ignore", detectZeroes: "off" },
    layers: [{ node: `n-${target}`, image: image(`/base/${target}`) }],
    overlay: image(`/overlay/${target}`),
    mirror: image(`/mirror/${target}`),
  })),
  config: { domain: sampleDomain() },
  quiesce: false,
  existing: new Set(),
  reuse: false,
  prepareTimeoutMs: 0,
});

function makeEntry(): DomainEntry {
  const definition = sampleDomain({
    disks: [...targets, "vdz"].map((target) => sampleDisk({ target, source: image(`/base/${target}`) })),
  });
  const run = { id: 1, adopted: false, definition };
  return { uuid: definition.uuid, name: definition.name, definition, run, paused: false };
}

const cases: readonly [Fact, readonly string[], readonly string[]][] = [
  ["snapshot-taken", [], ["/overlay/vda", "/overlay/vdb"]],
  ["mirrored", [], ["/overlay/vda", "/overlay/vdb"]],
  ["mirrors-ended", [], ["/overlay/vda", "/overlay/vdb"]],
  ["clone", [], ["/overlay/vda", "/overlay/vdb"]],
  ["pivot", [], ["/mirror/vda", "/mirror/vdb"]],
  ["pivot", ["vdb"], ["/mirror/vda", "/overlay/vdb"]],
  ["commit-back", [], ["/base/vda", "/base/vdb"]],
  ["commit-back", ["vda"], ["/overlay/vda", "/base/vdb"]],
  ["merged", ["vdb"], ["/base/vda", "/mirror/vdb"]],
];

for (const [fact, left, expected] of cases) {
  test(`the definitions name the true images after '${fact}'${left.length === 0 ? "" : ` without ${left.join()}`}`, () => {
    const entry = makeEntry();
    applyToDefinitions(entry, plan, fact, left);
    for (const definition of [entry.definition, entry.run?.definition]) {
      assert.deepEqual(
        definition?.disks.map((disk) => disk.source?.path),
        [...expected, "/base/vdz"],
      );
    }
  });
}

test("a disk that was redefined meanwhile keeps the user's image for the next start", () => {
  const entry = makeEntry();
  entry.definition = sampleDomain({ disks: [sampleDisk({ target: "vda", source: image("/mine") })] });
  applyToDefinitions(entry, plan, "pivot", []);
  assert.equal(entry.definition.disks[0]?.source?.path, "/mine");
  assert.equal(entry.run?.definition.disks[0]?.source?.path, "/mirror/vda");
});

test("after a split pivot only the disks left have mirrors, and ending those names no image of the others", () => {
  const entry = makeEntry();
  const step = (fact: Fact, left: readonly string[], of: StoragePlan, before: readonly SnapshotEntry[]) => {
    const after = applyToSnapshot(entry, of, fact, left, before);
    assert.ok(after);
    return after;
  };
  const mirrored = step("mirrored", [], plan, [step("snapshot-taken", [], plan, [])]);
  const split = step("pivot", ["vdb"], plan, [mirrored]);
  assert.deepEqual(Object.keys(split.mirrors?.states ?? {}), ["vdb"]);
  const rest = split.mirrors?.plan;
  assert.ok(rest);
  assert.deepEqual(
    rest.files.map(({ path }) => path),
    ["/overlay/vdb", "/mirror/vdb"],
  );
  const ended = step("mirrors-ended", [], rest, [split]);
  assert.equal(ended.mirrors, undefined);
  assert.deepEqual(
    ended.document.disks.map((disk) => [disk.target, disk.source?.path]),
    [
      ["vda", "/mirror/vda"],
      ["vdb", "/overlay/vdb"],
      ["vdz", undefined],
    ],
  );
  applyToDefinitions(entry, plan, "pivot", ["vdb"]);
  applyToDefinitions(entry, rest, "mirrors-ended", []);
  assert.deepEqual(
    entry.definition?.disks.map((disk) => disk.source?.path),
    ["/mirror/vda", "/overlay/vdb", "/base/vdz"],
  );
});
