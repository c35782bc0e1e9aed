import assert from "node:assert/strict";
import { test } from "node:test";
import type { KnownLayer, TreeInput } from "../../../src/engine/plans/layer-tree.ts";
import {
  findNeed,
  findPullNeed,
  planCommit,
  planPull,
  type CommitInput,
} from "../../../src/engine/plans/plan-block.ts";
import type { ImageRef } from "../../../src/model/image.ts";
import type { Snapshot } from "../../../src/model/snapshot.ts";

function image(path: string): ImageRef {
  return { type: "file", path, format: "qcow2" };
}

const chain = ["/d", "/c", "/b", "/a"].map(image);

function tree(changes: Partial<TreeInput> = {}, tags: Readonly<Record<string, string[]>> = {}): TreeInput {
  const layers = chain.map(({ path }, index): KnownLayer => {
    const backing = chain[index + 1]?.path;
    const known = { disk: "vda", image: image(path), sizeBytes: 1 << 20, dataBytes: 100 * (index + 1) };
    return { ...known, tags: tags[path] ?? [], ...(backing === undefined ? {} : { backing }) };
  });
  const active = [{ disk: "vda", path: "/d" }];
  return { layers, active, snapshots: [], recorded: [], foreign: new Map<string, string>(), ...changes };
}

function input(top: number, base: number, known: TreeInput = tree()): CommitInput {
  const domain = { uuid: "u", name: "web" };
  return { id: "0123456789ab", domain, disk: "vda", bytesPerS: 0, chain, tree: known, top, base };
}

function snapshotOf(base: string): Snapshot {
  const disk = { target: "vda", snapshot: "external", base: image(base), source: image("/x") } as const;
  return { name: "s1", creationTime: 1, state: "disk-snapshot", domainUuid: "u", domainName: "web", disks: [disk] };
}

function merges(given: CommitInput) {
  return planCommit(given).tasks.flatMap((task) => (task.task === "merge-down" ? [task] : []));
}

test("layers are merged from the lowest up: no layer's data is moved twice", () => {
  const done = merges(input(0, 3));
  assert.deepEqual(
    done.map(({ top, base, above }) => [top.path, base.path, above.map(({ path }) => path)]),
    [
      ["/b", "/a", ["/c"]],
      ["/c", "/a", ["/d"]],
      ["/d", "/a", []],
    ],
  );
  assert.equal(
    done.reduce((sum, { bytes }) => sum + bytes, 0),
    300 + 200 + 100,
  );
  assert.equal(new Set(done.map(({ jobId }) => jobId)).size, 3);
});

test("the definition follows with the active image, and only then", () => {
  const follow = { disk: "vda", from: "/d", to: image("/a") };
  assert.deepEqual(
    merges(input(0, 3)).map(({ change }) => change.images),
    [[], [], [follow]],
  );
  assert.deepEqual(
    merges(input(1, 3)).map(({ change }) => change.images),
    [[], []],
  );
  const back = { disk: "vda", from: "/a", to: image("/d") };
  assert.deepEqual(merges(input(0, 3)).at(-1)?.takenBack, { images: [back] });
});

test("no file is removed, and the first task decides, so that a merge goes on after a crash", () => {
  for (const plan of [planCommit(input(0, 3)), planPull(input(0, 0), undefined)]) {
    assert.ok(!plan.tasks.some(({ task }) => task === "remove-file"));
    assert.equal(plan.tasks[plan.decidedAt]?.task, "establish");
    assert.ok(plan.stoppable);
  }
});

test("a pull takes all layers down to its base in one task", () => {
  const [, all] = planPull(input(0, 0), undefined).tasks;
  const [, some] = planPull(input(0, 0), 2).tasks;
  assert.ok(all?.task === "pull-up" && some?.task === "pull-up");
  assert.deepEqual([all.from.map(({ path }) => path), all.backing], [["/c", "/b", "/a"], undefined]);
  assert.deepEqual([some.from.map(({ path }) => path), some.backing?.path], [["/c"], "/b"]);
});

test("who needs an image of the merge is named; what is needed above or below it does not matter", () => {
  assert.equal(findNeed(input(0, 3)), undefined);
  for (const [path, place] of [
    ["/d", 0],
    ["/c", 1],
    ["/b", 2],
    ["/a", 3],
  ] as const) {
    for (const [top, base] of [
      [0, 1],
      [1, 2],
      [1, 3],
      [0, 3],
    ] as const) {
      const inside = place >= top && place <= base;
      const needs = [
        findNeed(input(top, base, tree({ snapshots: [snapshotOf(path)] }))),
        findNeed(input(top, base, tree({ foreign: new Map([[path, "domain 'other'"]]) }))),
        findNeed(input(top, base, tree({}, { [path]: ["t1"] }))),
        findNeed(input(top, base, tree({ active: [{ disk: "vdb", path }] }))),
      ];
      const users = ["snapshot 's1'", "domain 'other'", "'t1'", "disk 'vdb'"];
      for (const [index, need] of needs.entries()) {
        assert.equal(need?.path, inside ? path : undefined);
        if (inside) assert.ok(need?.user.includes(users[index] ?? "?"), users[index] ?? "");
      }
    }
  }
});

test("an image that stands beside the chain keeps what it stands on", () => {
  const beside: KnownLayer = {
    disk: "vda",
    image: image("/side"),
    backing: "/b",
    sizeBytes: 1,
    dataBytes: 1,
    tags: [],
  };
  const known = tree({ layers: [...tree().layers, beside] });
  assert.deepEqual(findNeed(input(0, 3, known))?.path, "/b");
  assert.match(findNeed(input(1, 2, known))?.user ?? "", /^\/side/);
  assert.equal(findNeed(input(0, 1, known)), undefined);
});

test("internal snapshots of the active image are in the way of a pull, those below are not", () => {
  assert.equal(findPullNeed(input(0, 0, tree({}, { "/c": ["t1"] }))), undefined);
  assert.deepEqual(findPullNeed(input(0, 0, tree({}, { "/d": ["t1"] })))?.path, "/d");
});
