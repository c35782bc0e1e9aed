import assert from "node:assert/strict";
import { test } from "node:test";
import { madeReason, type TreeInput } from "../../../src/engine/plans/layer-tree.ts";
import { planRevert, type RevertInput } from "../../../src/engine/plans/plan-revert.ts";
import { sampleDisk, sampleDomain } from "../../qemu/sample-domain.ts";
import { refOf } from "./image-world.ts";
import { briefly, common, external, layer, snapshot, tree } from "./plan-examples.ts";

const definition = sampleDomain({ disks: [sampleDisk({ source: refOf("/now") })] });

function plan(input: TreeInput, name: string, changes: Partial<RevertInput> = {}) {
  const document = input.snapshots.find((one) => one.name === name);
  assert.ok(document);
  const disks = document.disks.flatMap(({ target, snapshot: kind, base: image }) => {
    const base = input.layers.find((one) => one.image.path === image?.path);
    assert.ok(base !== undefined && (kind === "external" || kind === "internal"));
    return [{ target, kind, base, newImage: refOf("/new") }];
  });
  const state = { runs: false, after: "off", withMemory: false } as const;
  return planRevert({
    ...common,
    tree: input,
    snapshot: document,
    definition,
    persistent: definition,
    disks,
    ...state,
    ...changes,
  });
}

const onlyExternal = tree("/a.s", [layer("/a"), layer("/a.s", "/a")], [snapshot("s", external("/a", "/a.s"))]);
const internal = snapshot("i", { snapshot: "internal", base: refOf("/a") });
const withTag = layer("/a", undefined, { tags: ["i"] });

test("an external snapshot gets a new overlay; the one that is left is recorded with the decision, removed last, then forgotten", () => {
  const { tasks, decidedAt } = plan(onlyExternal, "s");
  assert.deepEqual(briefly(tasks), ["create /new on /a", "establish", "remove /a.s", "establish"]);
  assert.equal(decidedAt, 1);
  const [decision, forget] = tasks.filter((task) => task.task === "establish");
  assert.deepEqual(
    decision?.change.layers?.map(({ image, reason }) => [image.path, reason]),
    [
      ["/new", madeReason],
      ["/a.s", "left by reverting to 's'"],
    ],
  );
  assert.equal(decision.change.definition?.disks[0]?.source?.path, "/new");
  assert.deepEqual(forget?.change, { forgottenLayers: ["/a.s"] });
});

test("an image of the user is left, never removed", () => {
  const layers = [layer("/a"), layer("/a.s", "/a"), layer("/mine")];
  const { tasks } = plan(tree("/mine", layers, [snapshot("s", external("/a", "/a.s"))]), "s");
  assert.ok(!briefly(tasks).includes("remove /mine"));
});

test("an internal snapshot is applied where nothing else is in its image, and copied out where something is", () => {
  assert.deepEqual(briefly(plan(tree("/a", [withTag], [internal]), "i").tasks), ["establish", "apply i to /a"]);
  const above = tree("/a.s", [withTag, layer("/a.s", "/a")], [internal, snapshot("s", external("/a", "/a.s"))]);
  const { tasks } = plan(above, "i");
  assert.deepEqual(briefly(tasks).slice(0, 2), ["copy /a to /new", "establish"]);
  const foreign = new Map([["/a", "domain 'other'"]]);
  assert.equal(briefly(plan(tree("/a", [withTag], [internal], { foreign }), "i").tasks)[0], "copy /a to /new");
});

test("memory is loaded before its copy is dropped, by tasks of their own: each can be repeated", () => {
  const full = { ...internal, state: "running" as const, memory: { snapshot: "internal" as const } };
  const above = tree("/a.s", [withTag, layer("/a.s", "/a")], [full, snapshot("s", external("/a", "/a.s"))]);
  const { tasks } = plan(above, "i", { runs: true, after: "running", withMemory: true });
  assert.deepEqual(briefly(tasks.slice(2, 7)), [
    "stop-machine",
    "start-machine",
    "load-internal",
    "delete-internal",
    "resume-guest",
  ]);
});

test("an image that was only kept for the snapshot's sake has the domain's state again, and says so", () => {
  const recorded = [{ disk: "vda", image: refOf("/a"), reason: "snapshot 'i' is in it" }];
  const { tasks } = plan(tree("/other", [withTag, layer("/other")], [internal], { recorded }), "i");
  const [decision] = tasks;
  assert.ok(decision?.task === "establish");
  assert.deepEqual(decision.change.layers, [{ disk: "vda", image: refOf("/a"), reason: madeReason }]);
});
