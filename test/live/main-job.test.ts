import assert from "node:assert/strict";
import { readdir, writeFile, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { checkImage } from "../../src/image/check.ts";
import { assertNothingLost, WitnessRig } from "./witness-rig.ts";

/** One guest for all of these; each leaves it running, the last checks everything that it ever wrote. */
describe("the main job on a guest that writes", () => {
  let rig: WitnessRig;
  before(async () => {
    rig = await WitnessRig.create({ disks: 3 });
    await rig.open();
    await rig.boot();
  });
  after(() => rig.close());

  test("migrate-storage moves every disk, verified, and removes the source", async () => {
    const operation = await rig.facade.migrateStorage("witness", { to: rig.path("target"), verify: true });
    const final = await rig.finish(operation);
    assert.equal(final.state, "succeeded", JSON.stringify(final.error));
    for (const disk of await rig.disks()) {
      assert.deepEqual(
        disk.chain.map((image) => image.path),
        [rig.path("target", `${disk.target}.qcow2`)],
      );
    }
    assert.deepEqual(await readdir(rig.path("source")), []);
    await rig.awaitWrites(20);
    const xml = await rig.facade.domainXml("witness", { inactive: true });
    for (const path of await rig.activePaths()) assert.match(xml, new RegExp(`<source file='${path}'/>`));
  });

  test("a mirrored snapshot shows its mirrors, refuses what would hurt it, and pivots", async () => {
    await mkdir(rig.path("mirrors"));
    const diskspecs = ["vda", "vdb", "vdc"].map(
      (target) =>
        `${target},snapshot=external,file=${rig.path("target", `${target}.s1`)},mirror=${rig.path("mirrors", `${target}.s1`)}`,
    );
    const { snapshot, xml } = await rig.facade.createSnapshot("witness", { name: "s1", diskspecs });
    assert.equal(snapshot?.mirrored, true);
    assert.match(xml, /<mirror type='file' file='[^']*\/mirrors\/vda.s1' format='qcow2' ready='yes'>/);
    assert.match(
      await rig.facade.domainXml("witness", { inactive: false }),
      /<mirror type='file' job='copy' [^>]*ready='yes'>/,
    );
    await rig.awaitWrites(20);
    const refused = [
      () => rig.facade.createSnapshot("witness", { name: "s2" }),
      () => rig.facade.deleteSnapshot("witness", "s1", {}),
      () => rig.facade.revertSnapshot("witness", "s1", {}),
      () => rig.facade.migrateStorage("witness", { to: rig.path("target") }),
      () => rig.facade.undefineDomain("witness"),
    ];
    for (const request of refused) {
      await assert.rejects(
        request(),
        (error: unknown) => isQmError(error, "QM_DOMAIN_MIRRORED") && error.message.includes("'s1'"),
      );
    }
    const pivot = await rig.facade.endMirrors("witness", "s1", "pivot");
    assert.equal(pivot?.state, "succeeded");
    for (const path of await rig.activePaths()) assert.equal(dirname(path), rig.path("mirrors"));
    assert.equal((await rig.facade.getSnapshot("witness", "s1")).mirrored, false);
    await rig.awaitWrites(20);
  });

  test("an aborted mirror leaves the guest on its source and no file of the mirror", async () => {
    await mkdir(rig.path("aborted"));
    const before = await rig.activePaths();
    const diskspecs = ["vda", "vdb", "vdc"].map((target) => `${target},mirror=${rig.path("aborted", target)}`);
    await rig.facade.createSnapshot("witness", { name: "s3", diskspecs });
    await rig.awaitWrites(10);
    await rig.facade.endMirrors("witness", "s3", "abort");
    assert.deepEqual(await readdir(rig.path("aborted")), []);
    const chains = (await rig.disks()).map((disk) => disk.chain.map((image) => image.path));
    assert.deepEqual(
      chains.map((chain) => chain[1]),
      before,
    );
    await rig.awaitWrites(10);
  });

  test("a clone is a copy of all disks at one instant, and the guest's chains are as before", async () => {
    await mkdir(rig.path("clone"));
    const before = await rig.disks();
    const final = await rig.finish(await rig.facade.cloneStorage("witness", { to: rig.path("clone"), verify: true }));
    assert.equal(final.state, "succeeded", JSON.stringify(final.error));
    assert.deepEqual(await rig.disks(), before);
    const made = await readdir(rig.path("clone"));
    const copies = ["vda", "vdb", "vdc"].map((target) =>
      made.find((name) => name.startsWith(target) && name.includes("clone-")),
    );
    await rig.awaitWrites(10);
    const verdict = await rig.check(
      copies.map((name) => rig.path("clone", name ?? "missing")),
      { acknowledged: false },
    );
    assertNothingLost(verdict);
    assert.ok([...verdict.lastSequence.values()].every((sequence) => sequence > 10));
  });

  test("a migration that is cancelled while it copies leaves the domain as it began", async () => {
    await mkdir(rig.path("cancelled"));
    const before = await rig.disks();
    const operation = await rig.facade.migrateStorage("witness", { to: rig.path("cancelled"), bytesPerS: 1024 * 1024 });
    for await (const view of rig.facade.watchOperation(operation.id, AbortSignal.timeout(30_000))) {
      if (view.step === "copy-layers") break;
    }
    const final = await rig.facade.cancelOperation(operation.id);
    assert.equal(final.state, "cancelled", JSON.stringify(final.error));
    assert.deepEqual(await rig.disks(), before);
    assert.deepEqual(await readdir(rig.path("cancelled")), []);
    assert.equal(
      (await rig.facade.listSnapshots("witness")).some((snapshot) => snapshot.name.startsWith("migrate-")),
      false,
    );
    await rig.awaitWrites(10);
  });

  test("a mirror whose file is taken changes nothing on any disk", async () => {
    const before = await rig.disks();
    const files = await readdir(rig.path("mirrors"));
    const diskspecs = ["vda", "vdb"].map((target) => `${target},mirror=${rig.path("taken", target)}`);
    await mkdir(rig.path("taken"));
    await writeFile(rig.path("taken", "vdb"), "x");
    await assert.rejects(rig.facade.createSnapshot("witness", { name: "s4", diskspecs }), (error: unknown) =>
      isQmError(error, "QM_FILE_EXISTS"),
    );
    assert.deepEqual(await rig.disks(), before);
    assert.deepEqual(await readdir(rig.path("mirrors")), files);
  });

  test("--flatten leaves one image a disk", async () => {
    await mkdir(rig.path("flat"));
    const final = await rig.finish(
      await rig.facade.migrateStorage("witness", { to: rig.path("flat"), flatten: true, verify: true }),
    );
    assert.equal(final.state, "succeeded", JSON.stringify(final.error));
    for (const disk of await rig.disks()) {
      assert.equal(disk.chain.length, 1);
      assert.equal(dirname(disk.chain[0]?.path ?? ""), rig.path("flat"));
    }
    await rig.awaitWrites(20);
  });

  test("at the end every acknowledged write is there, and no image is damaged", async () => {
    const chains = (await rig.disks()).flatMap((disk) => disk.chain);
    assertNothingLost(await rig.stopAndCheck());
    for (const image of chains) {
      const result = await checkImage({ type: "file", path: image.path, format: "qcow2" });
      assert.equal(result.corruptions, 0, image.path);
    }
  });
});
