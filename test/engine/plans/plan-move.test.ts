import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { planMove, type MoveDisk, type MoveInput } from "../../../src/engine/plans/plan-move.ts";
import { placeInDirectory } from "../../../src/engine/plans/plan-parts.ts";

const cache = { direct: true, noFlush: false, discard: "unmap", detectZeroes: "off" } as const;

function disk(target: string, ...paths: [string, ...string[]]): MoveDisk {
  const layer = (path: string, depth: number) => ({
    node: `n-${target}-${depth}`,
    fileNode: `f-${target}-${depth}`,
    image: { type: "file" as const, path, format: "qcow2" as const },
  });
  const [first, ...rest] = paths;
  return {
    target,
    device: "",
    qdev: `/machine/peripheral/${target}`,
    sizeBytes: 1 << 20,
    cache,
    layers: [layer(first, 0), ...rest.map((path, index) => layer(path, index + 1))],
    allocatedBytes: paths.map(() => 1000),
  };
}

function input(disks: readonly MoveDisk[], changes: Partial<MoveInput> = {}): MoveInput {
  return {
    id: "0123456789ab",
    kind: "migrate",
    domain: { uuid: "u", name: "web" },
    dialect: "blockdev",
    snapshot: { name: "migrate-0123456789ab", creationTime: 1 },
    disks,
    directory: "/nas",
    flatten: false,
    verify: false,
    bytesPerS: 0,
    keepSource: false,
    prepareTimeoutMs: 2000,
    ...changes,
  };
}

test("every layer is copied, from the bottom up, each naming the copy of the one below", () => {
  const plan = planMove(input([disk("vda", "/src/a.s1", "/src/a.qcow2")]));
  assert.deepEqual(
    plan.copies.map((copy) => [copy.from.path, copy.to.path, copy.backing?.path]),
    [
      ["/src/a.qcow2", "/nas/a.qcow2", undefined],
      ["/src/a.s1", "/nas/a.s1", "/nas/a.qcow2"],
    ],
  );
  assert.deepEqual(
    plan.disks[0]?.mirror?.backing.map((layer) => layer.image.path),
    ["/nas/a.s1", "/nas/a.qcow2"],
  );
  assert.deepEqual(plan.sourceNodes["vda"]?.slice(2), ["n-vda-0", "f-vda-0", "n-vda-1", "f-vda-1"]);
});

test("only what the guest wrote to is removed, and nothing with keepSource", () => {
  const disks = [disk("vda", "/src/a.s1", "/images/golden.qcow2")];
  assert.deepEqual(planMove(input(disks)).removeAfterPivot, ["/src/a.s1.migrate-0123456789ab", "/src/a.s1"]);
  const kept = planMove(input(disks, { keepSource: true }));
  assert.deepEqual(kept.removeAfterPivot, []);
  assert.ok(!kept.steps.includes("remove-source"));
});

test("flattening makes one image of a chain", () => {
  const plan = planMove(input([disk("vda", "/src/a.s1", "/src/a.qcow2")], { flatten: true }));
  assert.deepEqual(
    plan.copies.map((copy) => [copy.to.path, copy.flatten?.length, copy.sizeBytes]),
    [["/nas/a.s1", 2, 2000]],
  );
  assert.deepEqual(
    plan.disks[0]?.mirror?.backing.map((layer) => layer.image.path),
    ["/nas/a.s1"],
  );
});

test("a decision comes before every step that cannot be undone, in every plan", () => {
  for (const verify of [true, false]) {
    const { steps } = planMove(input([disk("vda", "/src/a")], { verify }));
    assert.ok(steps.indexOf("prepare-pivot") < steps.indexOf("decide-pivot"));
    assert.ok(steps.indexOf("decide-pivot") < steps.indexOf("finish-pivot"));
    assert.ok(steps.indexOf("finish-pivot") < steps.indexOf("remove-source"));
    assert.equal(steps.includes("verify-copies"), verify);
  }
});

test("a block device's overlay is made at the destination", () => {
  const device = disk("vda", "/dev/vg/lv");
  const [layer] = device.layers;
  const plan = planMove(
    input([{ ...device, layers: [{ ...layer, image: { type: "block", path: "/dev/vg/lv", format: "raw" } }] }]),
  );
  assert.equal(plan.disks[0]?.overlay.image.path, "/nas/vda.migrate-0123456789ab-source");
  assert.deepEqual(plan.copies[0]?.to, { type: "file", path: "/nas/lv", format: "raw" });
  assert.ok(!plan.removeAfterPivot.includes("/dev/vg/lv"));
});

test("no two files of a plan have one path, whatever the images are called", () => {
  const name = fc.constantFrom("disk.qcow2", "a", "a.b", "disk.raw");
  const directory = fc.constantFrom("/one", "/two", "/three");
  const path = fc.tuple(directory, name).map(([where, what]) => `${where}/${what}`);
  fc.assert(
    fc.property(fc.uniqueArray(path, { minLength: 1, maxLength: 6 }), (paths) => {
      const disks = paths.map((image, index) => disk(`vd${"abcdef"[index] ?? ""}`, image));
      const plan = planMove(input(disks));
      const all = [...plan.copies.map((copy) => copy.to.path), ...plan.files.map((file) => file.path)];
      const targets = all.filter((file) => file.startsWith("/nas/"));
      assert.equal(new Set(targets).size, targets.length, JSON.stringify(all));
      const nodes = plan.disks.flatMap((planned) => [planned.overlay.node, planned.mirror?.node ?? ""]);
      assert.equal(new Set(nodes).size, nodes.length);
      assert.ok(nodes.every((node) => node.length + "-f".length <= 31));
    }),
  );
});

test("images of one name get their disk's name in front", () => {
  const placed = placeInDirectory("/n", [
    { target: "vda", path: "/1/d" },
    { target: "vdb", path: "/2/d" },
  ]);
  assert.deepEqual([...placed.values()], ["/n/vda-d", "/n/vdb-d"]);
});
