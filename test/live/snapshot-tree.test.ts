/** Snapshots taken, gone back to and deleted on a real QEMU, seen in what the images hold. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import type { SnapshotView } from "../../src/api-types/index.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { assertHolds, assertRefused, ServiceRig } from "./service-rig.ts";

const mib = 1024 * 1024;

/** A domain of one disk; `write(p)` fills 64 KiB at offset p*64 KiB with the byte p. */
async function startDomain(t: { after(work: () => Promise<void>): void }, name: string) {
  const rig = new ServiceRig();
  t.after(() => rig.close());
  await rig.open();
  const image = rig.path("images", `${name}.qcow2`);
  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", image, String(16 * mib)]);
  await rig.facade.defineDomain(rig.domainXml(name, [image]));
  await rig.facade.startDomain(name);
  let eye: Monitor | undefined = await rig.watch(name);
  const restart = async (): Promise<void> => {
    eye = undefined;
    await rig.facade.startDomain(name);
  };
  const write = async (pattern: number): Promise<void> => {
    eye ??= await rig.watch(name);
    for (const what of [`write -P ${pattern} ${pattern * 64}k 64k`, "flush"]) {
      const device = "/machine/peripheral/vda/virtio-backend";
      await eye.execute("human-monitor-command", { "command-line": `qemu-io -d ${device} "${what}"` });
    }
  };
  const active = async (): Promise<string> => (await rig.chains(name))[0]?.[0] ?? "";
  const reopenEye = (): void => void (eye = undefined);
  return { rig, image, write, active, restart, reopenEye, facade: rig.facade };
}

function namesOf(snapshots: readonly SnapshotView[]): string[] {
  return snapshots.map(({ name, parent }) => `${name}<${parent ?? ""}`);
}

test("a snapshot in the middle is merged into its child while the guest runs", async (t) => {
  const { rig, write, active, facade } = await startDomain(t, "mid");
  await write(1);
  await facade.createSnapshot("mid", { name: "a", diskOnly: true });
  await write(2);
  await facade.createSnapshot("mid", { name: "b", diskOnly: true });
  await write(3);
  await facade.createSnapshot("mid", { name: "c", diskOnly: true });
  await write(4);
  const before = await rig.chains("mid");
  const { deleted, layers } = await facade.deleteSnapshot("mid", "b", {});
  assert.deepEqual(deleted, ["b"]);
  assert.equal(layers.length, 1);
  assert.deepEqual(namesOf(await facade.listSnapshots("mid")), ["a<", "c<a"]);
  assert.equal((await rig.chains("mid"))[0]?.length, (before[0]?.length ?? 0) - 1);
  await facade.deleteSnapshot("mid", "c", {});
  await facade.deleteSnapshot("mid", "a", {});
  assert.equal((await rig.chains("mid"))[0]?.length, 1);
  const image = await active();
  await facade.destroyDomain("mid");
  for (const pattern of [1, 2, 3, 4]) assertHolds(image, pattern, pattern * 64);
  assert.equal(rig.files().length, 1);
});

test("reverting makes a branch, and deleting with several children keeps the layer until one is left", async (t) => {
  const { rig, write, active, facade, reopenEye } = await startDomain(t, "fork");
  await write(1);
  await facade.createSnapshot("fork", { name: "root", diskOnly: true });
  await write(2);
  await facade.createSnapshot("fork", { name: "left", diskOnly: true });
  await write(3);
  await facade.revertSnapshot("fork", "root", { running: true });
  reopenEye();
  await write(4);
  await facade.createSnapshot("fork", { name: "right", diskOnly: true });
  await write(5);
  assert.deepEqual(namesOf(await facade.listSnapshots("fork")), ["left<root", "right<root", "root<"]);
  const kept = await facade.deleteSnapshot("fork", "root", {});
  assert.equal(kept.layers.find(({ fate }) => fate === "keep")?.reason, "2 images stand on it");
  assert.deepEqual(namesOf(await facade.listSnapshots("fork")), ["left<", "right<"]);
  await facade.deleteSnapshot("fork", "left", {});
  await facade.deleteSnapshot("fork", "right", {});
  const image = await active();
  assert.equal((await rig.chains("fork"))[0]?.length, 1);
  await facade.destroyDomain("fork");
  for (const pattern of [1, 4, 5]) assertHolds(image, pattern, pattern * 64);
  for (const pattern of [2, 3]) assertHolds(image, 0, pattern * 64);
  assert.deepEqual(rig.files().length, 1);
});

test("a full internal snapshot of a running guest, gone back to", async (t) => {
  const { image, write, facade, rig, reopenEye } = await startDomain(t, "inside");
  await write(1);
  const { snapshot } = await facade.createSnapshot("inside", { name: "full" });
  assert.partialDeepStrictEqual(snapshot, { state: "running", location: "internal" });
  await write(2);
  await facade.revertSnapshot("inside", "full", {});
  reopenEye();
  assert.equal((await facade.getDomain("inside")).state, "running");
  await write(3);
  await facade.deleteSnapshot("inside", "full", {});
  assert.equal((await facade.listSnapshots("inside")).length, 0);
  await facade.destroyDomain("inside");
  assertHolds(image, 1, 64);
  assertHolds(image, 0, 2 * 64);
  assertHolds(image, 3, 3 * 64);
  assert.equal(rig.files().length, 1);
});

test("a full external snapshot: memory in a file, gone back to, deleted", async (t) => {
  const { write, active, facade, rig, reopenEye } = await startDomain(t, "outside");
  const file = rig.path("images", "outside.mem");
  await write(1);
  const { snapshot } = await facade.createSnapshot("outside", { name: "full", memspec: file, live: true });
  assert.partialDeepStrictEqual(snapshot, { state: "running", location: "external" });
  assert.ok(existsSync(file));
  await write(2);
  await facade.revertSnapshot("outside", "full", { paused: true });
  reopenEye();
  assert.equal((await facade.getDomain("outside")).state, "paused");
  await facade.resumeDomain("outside");
  await write(3);
  await facade.deleteSnapshot("outside", "full", {});
  const image = await active();
  await facade.destroyDomain("outside");
  for (const [pattern, at] of [
    [1, 1],
    [0, 2],
    [3, 3],
  ] as const)
    assertHolds(image, pattern, at * 64);
  assert.equal(rig.files().length, 1);
});

test("an inactive domain: external and internal snapshots mixed, gone back to, deleted below a running guest too", async (t) => {
  const { write, facade, rig, active, restart } = await startDomain(t, "off");
  await write(1);
  await facade.destroyDomain("off");
  await facade.createSnapshot("off", { name: "in" });
  await facade.createSnapshot("off", { name: "out", diskOnly: true });
  await assertRefused(facade.undefineDomain("off"), "QM_DOMAIN_HAS_SNAPSHOTS", ["'off'", "2"]);
  assert.deepEqual(
    (await facade.listSnapshots("off", { inactive: true })).map(({ name, location }) => `${name} ${location}`),
    ["in internal", "out external"],
  );
  await restart();
  await write(2);
  // In a layer that the guest only reads, while it runs.
  await facade.deleteSnapshot("off", "in", {});
  const said = execFileSync("qemu-img", ["snapshot", "-U", "-l", rig.path("images", "off.qcow2")], {
    encoding: "utf8",
  });
  assert.doesNotMatch(said, /\bin\b/);
  await facade.destroyDomain("off");
  await facade.revertSnapshot("off", "out", {});
  await facade.deleteSnapshot("off", "out", {});
  await facade.createSnapshot("off", { name: "in" });
  await facade.createSnapshot("off", { name: "out", diskOnly: true });
  await restart();
  await write(2);
  await facade.destroyDomain("off");
  await facade.revertSnapshot("off", "in", {});
  assert.equal((await facade.currentSnapshot("off")).name, "in");
  assertHolds(await active(), 1, 64);
  const { layers } = await facade.deleteSnapshot("off", "in", { children: true });
  assert.deepEqual(await facade.listSnapshots("off"), []);
  const image = await active();
  assertHolds(image, 1, 64);
  assertHolds(image, 0, 128);
  // The image that the user brought is of no use any more, and the user's to remove.
  const left = layers.filter(({ fate }) => fate === "keep");
  assert.deepEqual(
    left.map(({ path, reason }) => [path, reason]),
    [[rig.path("images", "off.qcow2"), "qmirror did not make it"]],
  );
  assert.equal(rig.files().length, 2, rig.files().join("\n"));
  await facade.createSnapshot("off", { name: "last" });
  await facade.undefineDomain("off", { snapshotsMetadata: true });
  await assertRefused(facade.getDomain("off"), "QM_NO_DOMAIN");
});
