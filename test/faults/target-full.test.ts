/** The destination's file system is full, at every moment that writes to it. The guest runs on its source and hears nothing of it. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { assertRefused, writeThroughDevice } from "../live/service-rig.ts";
import { assertFailed, assertReads, FaultRig, writeUnflushed, type SmallDisk } from "./fault-rig.ts";

const full = ["'vda'", "0 bytes are free", "No space left on device"];

describe("the target is full", () => {
  const rig = new FaultRig();
  let eye: Monitor;
  let disk: SmallDisk;
  let pattern = 0x20;
  // What a failed test leaves must not make the next one fail.
  afterEach(() => disk.makeRoom());
  /** Every write that the guest was told is safe: by place. */
  const written: Record<number, number> = {};

  before(async () => {
    await rig.open();
    eye = await rig.start("d", [rig.createImage("vda.qcow2", { pattern: 7 })]);
    disk = await rig.smallDisk(16);
  });
  after(() => rig.close());

  const active = async (): Promise<string> => (await rig.chains("d"))[0]?.[0] ?? "";
  const see = async () => {
    const { files, ...rest } = await rig.see("d", eye);
    // Merging an overlay back makes its base longer.
    return {
      ...rest,
      files: files.map((line) => line.slice(0, line.lastIndexOf(" "))),
      target: readdirSync(disk.path),
    };
  };
  /** A write of the guest, flushed: QEMU would print an error, and the image would not have it. */
  async function write(offsetKib: number): Promise<void> {
    await writeThroughDevice(eye, "vda", ++pattern, offsetKib);
    written[offsetKib] = pattern;
  }
  async function writeLate(offsetKib: number): Promise<void> {
    await writeUnflushed(eye, "vda", ++pattern, offsetKib);
    written[offsetKib] = pattern;
  }
  /** Nothing that was acknowledged is missing, and the guest can go on writing. */
  async function assertGuestWell(): Promise<void> {
    assert.equal((await eye.execute("query-status")).status, "running");
    await write(3072);
    assertReads(await active(), written);
  }

  for (const verb of ["migrateStorage", "cloneStorage"] as const) {
    test(`${verb}, while copying: the error names disk, file and space, and everything is as before`, async () => {
      const to = disk.directory("to");
      const seen = await see();
      rig.at("before copy-layers", () => disk.fill());
      const final = await rig.finish(await rig.facade[verb]("d", { to }));
      disk.makeRoom();
      assertFailed(final, "QM_TARGET_FULL", [...full, to]);
      assert.deepEqual(await see(), seen);
      assert.deepEqual(readdirSync(to), []);
      await assertGuestWell();
    });

    test(`${verb}, in the mirror while layers are copied`, async () => {
      const to = disk.directory("to");
      const seen = await see();
      rig.at("before copy-layers", async () => {
        disk.fill();
        await write(2560);
      });
      const final = await rig.finish(await rig.facade[verb]("d", { to }));
      disk.makeRoom();
      assertFailed(final, "QM_TARGET_FULL", [...full, to]);
      assert.deepEqual(await see(), seen);
      await assertGuestWell();
    });
  }

  const takeMirrored = (name: string) =>
    rig.facade.createSnapshot("d", {
      name,
      diskspecs: [`vda,file=${rig.image(`vda.${name}`)},mirror=${disk.image(name)}`],
    });
  const mirror = async (name: string) => (await rig.facade.getSnapshot("d", name)).disks[0]?.mirror;

  test("a mirrored snapshot whose mirror has no room for its header is not taken", async () => {
    const seen = await see();
    disk.fill();
    await assertRefused(takeMirrored("none"), "QM_TARGET_FULL", [...full, disk.image("none")]);
    disk.makeRoom();
    assert.deepEqual(await see(), seen);
  });

  test("a ready mirror is broken, says which file and how much space, and starts again when there is room", async () => {
    await takeMirrored("s1");
    disk.fill();
    const events = rig.facade.watchEvents({ domain: "d" }, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
    const broken = events.next();
    await write(5120);
    const { value: event } = await broken;
    assert.ok(event !== undefined);
    assert.equal(event.type, "mirror");
    const state = await mirror("s1");
    assert.equal(state?.state, "broken");
    assert.match(state.reason ?? "", /No space left on device: \S+\/s1, 0 bytes are free/);
    await assertRefused(rig.facade.endMirrors("d", "s1", "pivot"), "QM_MIRROR_BROKEN", ["'vda'", disk.image("s1")]);
    await assertRefused(rig.facade.restartMirrors("d", "s1"), "QM_TARGET_FULL", [...full, disk.image("s1")]);
    await write(5120);
    disk.makeRoom();
    assert.equal((await rig.facade.restartMirrors("d", "s1")).state, "succeeded");
    assert.equal((await mirror("s1"))?.state, "ready");
    assert.equal((await rig.facade.endMirrors("d", "s1", "pivot"))?.state, "succeeded");
    assert.equal(await active(), disk.image("s1"));
    await assertGuestWell();
  });

  test("a full target does not stop a drain: what it has to write has its place since the guest wrote it", async () => {
    await takeMirrored("s2");
    await writeLate(6144);
    disk.fill();
    assert.equal((await rig.facade.endMirrors("d", "s2", "pivot"))?.state, "succeeded");
    disk.makeRoom();
    assert.equal(await active(), disk.image("s2"));
    await assertGuestWell();
  });

  test("snapshot-delete, while it merges: the guest stays on the upper layer, and it is done again when there is room", async () => {
    // On the small disk `s2` stands on `s1`, and takes its data.
    const diskspecs = [`vda,file=${rig.image("vda.s3")}`];
    await write(7168);
    await rig.facade.createSnapshot("d", { name: "s3", diskOnly: true, diskspecs });
    const chain = await rig.chains("d");
    disk.fill();
    const names = (await rig.facade.listSnapshots("d")).map(({ name }) => name);
    await assertRefused(rig.facade.deleteSnapshot("d", "s2", {}), "QM_TARGET_FULL", [...full, disk.image("s2")]);
    assert.deepEqual(await rig.chains("d"), chain);
    await assertGuestWell();
    disk.makeRoom();
    assert.deepEqual(
      (await rig.facade.listSnapshots("d")).map(({ name }) => name),
      names,
    );
    await rig.facade.deleteSnapshot("d", "s2", {});
    assert.deepEqual((await rig.chains("d"))[0]?.slice(0, 2), [rig.image("vda.s3"), disk.image("s2")]);
    await assertGuestWell();
  });

  test("a merge of the active layer: the guest stays on it", async () => {
    const base = disk.image("m");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", base, "8M"]);
    const other = await rig.start("m", [base]);
    const diskspecs = [`vda,file=${rig.image("m.top")}`];
    await rig.facade.createSnapshot("m", { name: "top", diskOnly: true, diskspecs, noMetadata: true });
    await writeThroughDevice(other, "vda", 1, 0);
    disk.fill();
    const merging = async () => rig.finish(await rig.facade.blockCommit("m", "vda", {}));
    assertFailed(await merging(), "QM_TARGET_FULL", [...full, base]);
    assert.deepEqual(await rig.chains("m"), [[rig.image("m.top"), base]]);
    assert.deepEqual(await other.execute("query-jobs"), []);
    await writeThroughDevice(other, "vda", 2, 64);
    disk.makeRoom();
    assert.equal((await merging()).state, "succeeded");
    assertReads(base, { 0: 1, 64: 2 });
  });

  test("a source that is full too: undoing stops, all data are there, and deleting the snapshot finishes it", async () => {
    const base = disk.image("n");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", base, "8M"]);
    const other = await rig.start("n", [base]);
    await writeThroughDevice(other, "vda", 3, 0);
    rig.at("before copy-layers", async () => {
      await writeThroughDevice(other, "vda", 4, 512);
      disk.fill();
    });
    const to = disk.directory("to");
    const final = await rig.finish(await rig.facade.migrateStorage("n", { to }));
    assertFailed(final, "QM_ROLLBACK", ["'vda'", "0 bytes are free", "undoing it stopped", "No space left on device"]);
    assert.deepEqual(readdirSync(to), []);
    const snapshot = `migrate-${final.id}`;
    assert.deepEqual(await rig.chains("n"), [[`${base}.${snapshot}`, base]]);
    assert.deepEqual(await other.execute("query-jobs"), []);
    disk.makeRoom();
    await rig.facade.deleteSnapshot("n", snapshot, {});
    assert.deepEqual(await other.execute("query-jobs"), []);
    const [active = ""] = (await rig.chains("n"))[0] ?? [];
    assertReads(active, { 0: 3, 512: 4 });
    assert.deepEqual(await rig.facade.listSnapshots("n"), []);
  });

  test("blockcopy, while it copies and when it follows", async () => {
    const dest = disk.image("copy");
    const chain = await rig.chains("d");
    rig.at("before start-copy", () => disk.fill());
    const copying = await rig.finish(await rig.facade.blockCopy("d", "vda", { dest }));
    assertFailed(copying, "QM_TARGET_FULL", [...full, dest]);
    disk.makeRoom();

    assert.equal((await rig.finish(await rig.facade.blockCopy("d", "vda", { dest }))).state, "succeeded");
    disk.fill();
    const events = rig.facade.watchEvents({ domain: "d" }, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
    const failed = events.next();
    await write(7872);
    const { value: event } = await failed;
    assert.deepEqual(event?.detail["state"], "failed");
    assert.equal(event.detail["path"], dest);
    assert.match(String(event.detail["reason"]), /No space left/);
    assert.equal(await rig.facade.blockJob("d", "vda"), undefined);
    disk.makeRoom();

    // What a copy that ended by itself leaves is the user's, as libvirt does.
    assert.ok(readdirSync(disk.path).includes("copy"));
    const again = disk.image("copy2");
    assert.equal((await rig.finish(await rig.facade.blockCopy("d", "vda", { dest: again }))).state, "succeeded");
    await rig.facade.endBlockJob("d", "vda", "abort");
    assert.deepEqual(await rig.chains("d"), chain);
    await assertGuestWell();
  });
});
