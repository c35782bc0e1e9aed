import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { madeReason, type TreeInput } from "../../../src/engine/plans/layer-tree.ts";
import { planDelete } from "../../../src/engine/plans/plan-delete.ts";
import { describeWorld, refOf } from "./image-world.ts";
import { briefly, common, external, layer, snapshot, tree } from "./plan-examples.ts";
import { RandomDomain } from "./random-domain.ts";
import { arbitrarySteps } from "./random-steps.ts";

function plan(input: TreeInput, ...names: string[]) {
  return planDelete({ ...common, tree: input, names: new Set(names), deleting: new Set(), bytesPerS: 0 });
}

function middle(input: TreeInput, ...names: string[]): string[] {
  return briefly(plan(input, ...names).plan.tasks.slice(1, -1));
}

test("whatever is taken, reverted to and deleted, and wherever it is interrupted: what remains shows what it held", () => {
  const numRuns = Number(process.env["QMIRROR_RUNS"] ?? 2000);
  fc.assert(
    fc.property(arbitrarySteps, (steps) => {
      const domain = new RandomDomain();
      try {
        for (const step of steps) domain.take(step);
        domain.finish();
      } catch (error) {
        throw new Error(`${String(error)}\n${describeWorld(domain.world)}`, { cause: error });
      }
    }),
    { numRuns },
  );
});

describe("a layer that nobody needs, and the one on it", () => {
  const one = snapshot("s", external("/a", "/a.s"));
  const on = (base: Parameters<typeof layer>[2], top: Parameters<typeof layer>[2]) =>
    tree("/a.s", [layer("/a", undefined, base), layer("/a.s", "/a", top)], [one]);

  test("become one where the less is moved", () => {
    assert.deepEqual(middle(on({ dataBytes: 9 }, { dataBytes: 5 }), "s"), ["/a.s into /a", "remove /a.s"]);
    assert.deepEqual(middle(on({ dataBytes: 5 }, { dataBytes: 9 }), "s"), ["/a up into /a.s", "remove /a"]);
  });

  test("become one in the upper, where the lower is larger and has data behind the upper's end", () => {
    assert.deepEqual(middle(on({ sizeBytes: 2000 }, { dataBytes: 5 }), "s"), ["/a up into /a.s", "remove /a"]);
  });

  test("stay, where the upper's internal snapshots or another domain need them", () => {
    assert.deepEqual(middle(on({}, { tags: ["i"] }), "s"), []);
    const [kept] = plan(on({}, { tags: ["i"] }), "s").fates;
    assert.match(kept?.reason ?? "", /internal snapshots that need it/);
    const foreign = new Map([
      ["/a", "domain 'other'"],
      ["/a.s", "domain 'other'"],
    ]);
    const [used] = plan({ ...on({}, {}), foreign }, "s").fates;
    assert.equal(used?.reason, "it is used by domain 'other'");
  });
});

test("a snapshot that is being deleted names the image that has its data, so that a second deletion finds it", () => {
  const [low, high] = [
    snapshot("low", external("/a", "/b")),
    snapshot("high", external("/b", "/c"), { parent: "low" }),
  ];
  const layers = [layer("/a", undefined, { dataBytes: 900 }), layer("/b", "/a"), layer("/c", "/b")];
  const { tasks } = plan(tree("/c", layers, [low, high]), "low", "high").plan;
  const merge = tasks.find((task) => task.task === "merge-down");
  assert.ok(merge?.task === "merge-down");
  const [document] = merge.change.snapshots?.filter(({ document: { name } }) => name === "high") ?? [];
  assert.equal(document?.deleting, true);
  assert.equal(document.document.disks[0]?.base?.path, "/a");
  assert.deepEqual(
    merge.change.layers?.map(({ image }) => image.path),
    ["/b"],
    "the emptied image is recorded until it is removed",
  );
});

test("what a user has disconnected is never removed: the active image of a disk that the domain lost", () => {
  const gone = snapshot("s", external("/a", "/a.s"));
  const layers = [layer("/a", undefined, { dataBytes: 900 }), layer("/a.s", "/a")];
  const recorded = [{ disk: "vda", image: refOf("/r"), reason: madeReason }];
  const input = tree("/elsewhere", [...layers, layer("/r"), layer("/elsewhere")], [gone], { recorded });
  const tasks = middle(input, "s");
  // Its data stays, in one image instead of two.
  assert.deepEqual(tasks, ["/a.s into /a", "remove /a.s"]);
});

test("what a merge was to change is taken back as it was", () => {
  const s = snapshot("s", external("/a", "/a.s"));
  const recorded = [{ disk: "vda", image: refOf("/a"), reason: madeReason }];
  const layers = [layer("/a", undefined, { dataBytes: 900 }), layer("/a.s", "/a")];
  const merge = plan(tree("/a.s", layers, [s], { recorded }), "s").plan.tasks[1];
  assert.ok(merge?.task === "merge-down");
  assert.deepEqual(merge.takenBack.images, [{ disk: "vda", from: "/a", to: refOf("/a.s") }]);
  assert.deepEqual(merge.takenBack.layers, recorded);
  assert.deepEqual(merge.takenBack.forgottenLayers, ["/a.s"]);
  assert.deepEqual(
    merge.takenBack.snapshots?.map(({ document, deleting }) => [document, deleting]),
    [[s, true]],
  );
});
