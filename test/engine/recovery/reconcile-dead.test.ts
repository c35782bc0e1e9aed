import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { planMove } from "../../../src/engine/plans/plan-move.ts";
import { reconcileDead } from "../../../src/engine/recovery/reconcile.ts";
import type { Fact, OperationJournal } from "../../../src/engine/steps/step.ts";
import type { StoragePlan } from "../../../src/engine/steps/storage-plan.ts";

/** A migration of one disk whose files are all there. */
function makeMigration(t: TestContext): StoragePlan {
  const directory = mkdtempSync(join(tmpdir(), "qmirror-dead-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const plan = planMove({
    id: "0123456789ab",
    kind: "migrate",
    domain: { uuid: "u", name: "d" },
    dialect: "blockdev",
    snapshot: { name: "s", creationTime: 0 },
    disks: [
      {
        target: "vda",
        device: "",
        qdev: "/machine/peripheral/vda",
        sizeBytes: 4096,
        cache: { direct: false, noFlush: false, discard: "ignore", detectZeroes: "off" },
        layers: [{ node: "n", fileNode: "f", image: { type: "file", path: join(directory, "vda"), format: "qcow2" } }],
        allocatedBytes: [4096],
      },
    ],
    directory: join(directory),
    flatten: false,
    verify: false,
    bytesPerS: 0,
    keepSource: false,
    prepareTimeoutMs: 0,
  });
  for (const path of plan.removeAfterPivot) writeFileSync(path, "data");
  return plan;
}

/** Remembers what is established; `kinds` are there from before. */
function makeJournal(kinds: readonly string[]): OperationJournal {
  return {
    establish: (fact: Fact) => assert.fail(`${fact} is settled already`),
    record: () => undefined,
    has: (kind, data) => data === undefined && kinds.includes(kind),
  };
}

test("after the decision the source of disks that all moved is removed", async (t) => {
  const plan = makeMigration(t);
  assert.equal(await reconcileDead(plan, makeJournal([]), { step: "prepare-pivot", fact: "pivot" }), true);
  assert.ok(plan.removeAfterPivot.length > 0);
  for (const path of plan.removeAfterPivot) assert.equal(existsSync(path), false, path);
});

for (const fact of ["pivot", "merged", "commit-back"] as const) {
  test(`no file is removed when a disk was left behind by '${fact}': it may be that disk's truth`, async (t) => {
    const plan = makeMigration(t);
    assert.equal(await reconcileDead(plan, makeJournal(["left"]), { step: "prepare-pivot", fact }), false);
    for (const path of plan.removeAfterPivot) assert.equal(existsSync(path), true, path);
  });
}
