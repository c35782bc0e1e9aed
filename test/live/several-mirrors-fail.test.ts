/** One of several disks fails at an exact command: either all are as before, or all go forward, or it is said which one did not. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import type { QmpProxy } from "../../src/testing/qmp-proxy.ts";
import {
  assertHolds,
  assertRefused,
  blockdevDisks,
  ServiceRig,
  writeThroughDevice,
  type ForeignQemu,
} from "./service-rig.ts";

const targets = ["vda", "vdb", "vdc"];

describe("one mirror of several fails", () => {
  const rig = new ServiceRig();
  let qemu: ForeignQemu;
  let proxy: QmpProxy;
  before(async () => {
    const disks = Object.fromEntries(targets.map((name) => [name, rig.createImage(`${name}.qcow2`, { pattern: 7 })]));
    await rig.open();
    qemu = await rig.startForeign(blockdevDisks(disks));
    proxy = await rig.attachThroughProxy("d", qemu);
  });
  after(() => rig.close());

  const see = () => rig.see("d", qemu.eye);
  const activePaths = async (): Promise<string[]> => (await rig.chains("d")).map(([active]) => active ?? "");
  const activeDirectories = async (): Promise<string[]> =>
    (await activePaths()).map((path) => dirname(path).replace(rig.path("images"), ""));

  function takeMirrored(name: string) {
    rig.image(`${name}/`);
    const diskspecs = targets.map(
      (target) => `${target},file=${rig.image(`${target}.${name}`)},mirror=${rig.image(`${name}/${target}`)}`,
    );
    return rig.facade.createSnapshot("d", { name, diskspecs });
  }

  async function assertNoJobs(): Promise<void> {
    assert.deepEqual(await qemu.eye.execute("query-jobs"), []);
  }

  for (const command of ["blockdev-create", "blockdev-add", "transaction", "blockdev-mirror"]) {
    test(`${command} is refused: everything is as before`, async () => {
      rig.image("none/");
      const seen = await see();
      proxy.faults.refuse(command, command === "transaction" ? 1 : 2, "no, not this one");
      await assertRefused(takeMirrored("none"), "QM_QMP_COMMAND", [command, "no, not this one"]);
      assert.deepEqual(await see(), seen);
    });
  }

  test("a pivot before every mirror is ready is refused", async () => {
    const hung = proxy.faults.hang("blockdev-mirror", 2);
    const taking = takeMirrored("s0");
    await hung.reached;
    await assertRefused(rig.facade.endMirrors("d", "s0", "pivot"), "QM_MIRROR_NOT_READY", ["'vda'", "starting"]);
    await assertRefused(rig.facade.endMirrors("d", "s0", "abort"), "QM_DOMAIN_BUSY", ["'d'"]);
    hung.release();
    await taking;
    await rig.facade.endMirrors("d", "s0", "abort");
  });

  test("one cannot be held: every disk stays on its source, the snapshot is broken and can be aborted", async () => {
    await takeMirrored("s1");
    const paths = await activePaths();
    proxy.faults.refuse("job-complete", 2, "not now");
    await assertRefused(rig.facade.endMirrors("d", "s1", "pivot"), "QM_PIVOT_REFUSED", ["job-complete", "not now"]);
    assert.deepEqual(await activePaths(), paths);
    const snapshot = await rig.facade.getSnapshot("d", "s1");
    assert.deepEqual(
      snapshot.disks.map((disk) => disk.mirror?.state),
      ["broken", "broken", "broken"],
    );
    await assertNoJobs();
    for (const target of targets) await writeThroughDevice(qemu.eye, target, 0x11, 0);
    await rig.facade.endMirrors("d", "s1", "abort");
    assert.deepEqual(readdirSync(rig.image("s1")), []);
    assert.deepEqual(await activePaths(), paths);
  });

  test("broken mirrors start again, follow what was written meanwhile, and are pivoted to", async () => {
    await takeMirrored("again");
    const ready = async (): Promise<(string | undefined)[]> =>
      (await rig.facade.getSnapshot("d", "again")).disks.map((disk) => disk.mirror?.state);
    await assertRefused(rig.facade.restartMirrors("d", "again"), "QM_INVALID", ["'again'", "ready"]);
    proxy.faults.refuse("job-complete", 2, "not now");
    await assertRefused(rig.facade.endMirrors("d", "again", "pivot"), "QM_PIVOT_REFUSED", ["not now"]);
    assert.deepEqual(await ready(), ["broken", "broken", "broken"]);
    for (const target of targets) await writeThroughDevice(qemu.eye, target, 0x77, 640);
    proxy.faults.refuse("blockdev-mirror", 2, "not yet");
    await assertRefused(rig.facade.restartMirrors("d", "again"), "QM_QMP_COMMAND", ["not yet"]);
    assert.equal((await rig.facade.restartMirrors("d", "again")).state, "succeeded");
    assert.deepEqual(await ready(), ["ready", "ready", "ready"]);
    for (const target of targets) await writeThroughDevice(qemu.eye, target, 0x88, 704);
    assert.equal((await rig.facade.endMirrors("d", "again", "pivot"))?.state, "succeeded");
    assert.deepEqual(await activeDirectories(), ["/again", "/again", "/again"]);
    await assertNoJobs();
    for (const path of await activePaths()) {
      const reads = ["read -P 0x77 640k 64k", "read -P 0x88 704k 64k", "read -P 7 512k 64k"].flatMap((read) => [
        "-c",
        read,
      ]);
      assert.doesNotMatch(
        execFileSync("qemu-io", ["-U", "-r", "-f", "qcow2", ...reads, path], { encoding: "utf8" }),
        /fail/,
      );
    }
  });

  test("QEMU refuses to finish one disk once: it is asked again, and all have moved", async () => {
    await takeMirrored("s2");
    proxy.faults.refuse("job-finalize", 2, "try again");
    assert.equal((await rig.facade.endMirrors("d", "s2", "pivot"))?.state, "succeeded");
    assert.deepEqual(await activeDirectories(), ["/s2", "/s2", "/s2"]);
    await assertNoJobs();
  });

  test("QEMU refuses for good: the disk is mirrored forward with what it wrote meanwhile, until all have moved", async () => {
    await takeMirrored("s3");
    for (const nth of [2, 4, 5]) proxy.faults.refuse("job-finalize", nth, "no");
    const forward = proxy.faults.hang("blockdev-mirror", 1);
    const pivot = rig.facade.endMirrors("d", "s3", "pivot");
    await forward.reached;
    for (const target of targets) await writeThroughDevice(qemu.eye, target, 0x33, 64);
    forward.release();
    assert.equal((await pivot)?.state, "succeeded");
    assert.deepEqual(await activeDirectories(), ["/s3", "/s3", "/s3"]);
    assert.equal((await rig.facade.getSnapshot("d", "s3")).mirrored, false);
    await assertNoJobs();
  });

  test("QEMU refuses every time: the error names the disk, and ending its mirror leaves the others where they are", async () => {
    await takeMirrored("s4");
    for (const nth of [2, 4, 5, 6, 7, 8, 9, 10, 11]) proxy.faults.refuse("job-finalize", nth, "never");
    await assertRefused(rig.facade.endMirrors("d", "s4", "pivot"), "QM_PIVOT_SPLIT", ["vdb", "never"]);
    assert.deepEqual(await activeDirectories(), ["/s4", "", "/s4"]);
    await assertNoJobs();
    const [operation] = await rig.facade.listOperations({ domain: "d" });
    assert.deepEqual(
      operation?.result?.["truth"],
      Object.fromEntries((await activePaths()).map((p, i) => [targets[i], p])),
    );
    const split = await rig.facade.getSnapshot("d", "s4");
    assert.deepEqual(
      split.disks.map((disk) => disk.mirror?.state),
      [undefined, "broken", undefined],
    );
    for (const target of targets) await writeThroughDevice(qemu.eye, target, 0x44, 128);
    const paths = await activePaths();
    await rig.facade.endMirrors("d", "s4", "abort");
    assert.deepEqual(await activePaths(), paths);
    assert.deepEqual(readdirSync(rig.image("s4")).toSorted(), ["vda", "vdc"]);
    const ended = await rig.facade.getSnapshot("d", "s4");
    assert.equal(ended.mirrored, false);
    assert.deepEqual(
      ended.disks.map((disk) => disk.source?.path),
      paths,
    );
  });

  test("the daemon ends while a disk is mirrored forward: the next one goes on with it", async () => {
    await takeMirrored("s5");
    for (const nth of [2, 4, 5]) proxy.faults.refuse("job-finalize", nth, "no");
    const forward = proxy.faults.hang("blockdev-mirror", 1);
    // Nobody hears its end: the daemon is gone by then.
    void rig.facade.endMirrors("d", "s5", "pivot").catch(() => undefined);
    await forward.reached;
    for (const target of targets) await writeThroughDevice(qemu.eye, target, 0x55, 256);
    await rig.closeService();
    forward.release();
    await rig.open();
    const [operation] = await rig.facade.listOperations({ domain: "d" });
    assert.ok(operation);
    assert.equal((await rig.finish(operation)).state, "succeeded");
    assert.deepEqual(await activeDirectories(), ["/s5", "/s5", "/s5"]);
    assert.equal((await rig.facade.getSnapshot("d", "s5")).mirrored, false);
    await assertNoJobs();
  });

  for (const [command, nth] of [
    ["blockdev-create", 2],
    ["transaction", 1],
    ["blockdev-mirror", 2],
  ] as const) {
    for (const when of ["Before", "After"] as const) {
      test(`the connection is lost ${when.toLowerCase()} ${command}: QEMU is looked at, and everything is as before`, async () => {
        rig.image("none/");
        const seen = await see();
        proxy.faults[`dropConnection${when}`](command, nth);
        await assertRefused(takeMirrored("none"), "QM_INTERRUPTED", ["undone"]);
        const now = await see();
        // Merging an overlay back may make its base longer.
        const names = (files: readonly string[]): string[] => files.map((line) => line.split(" ")[0] ?? "");
        assert.deepEqual({ ...now, files: names(now.files) }, { ...seen, files: names(seen.files) });
      });
    }
  }

  for (const [command, nth] of [
    ["job-complete", 2],
    ["job-finalize", 1],
    ["job-finalize", 3],
    ["job-dismiss", 2],
  ] as const) {
    test(`the connection is lost in the pivot, after ${command} ${nth}: it goes on`, async () => {
      const name = `lost-${command}-${nth}`;
      await takeMirrored(name);
      proxy.faults.dropConnectionAfter(command, nth);
      const pivot = await rig.facade.endMirrors("d", name, "pivot");
      assert.equal(pivot?.state, "succeeded");
      assert.deepEqual(await activeDirectories(), [`/${name}`, `/${name}`, `/${name}`]);
      await assertNoJobs();
    });
  }

  for (const verb of ["cloneStorage", "migrateStorage"] as const) {
    test(`${verb}: QEMU refuses to merge one overlay: that disk stays on it, and the domain says so`, async () => {
      const to = rig.image(`${verb}/`);
      // The first three end the mirrors.
      for (const nth of [5, 7, 8]) proxy.faults.refuse("job-finalize", nth, "no merge");
      const final = await rig.finish(await rig.facade[verb]("d", { to }));
      assert.equal(final.error?.code, "QM_JOB_FAILED", JSON.stringify(final));
      assert.match(final.error.message, /'vdb'.*no merge/);
      const paths = await activePaths();
      const upper = new RegExp(`${verb === "cloneStorage" ? "clone" : "migrate"}-${final.id}$`);
      assert.deepEqual(
        paths.map((path) => upper.test(path)),
        [false, true, false],
      );
      assert.deepEqual(final.result?.["truth"], Object.fromEntries(paths.map((path, index) => [targets[index], path])));
      for (const target of targets) {
        await writeThroughDevice(qemu.eye, target, 0x66, verb === "cloneStorage" ? 320 : 384);
      }
      await assertNoJobs();
    });
  }

  test("at the end every write is in the images that the domain names", async () => {
    const paths = await activePaths();
    await rig.facade.detachDomain("d");
    await qemu.kill();
    for (const path of paths) {
      for (const [pattern, offsetKib] of [
        [0x11, 0],
        [0x33, 64],
        [0x44, 128],
        [7, 192],
        [0x55, 256],
        [0x66, 320],
        [0x66, 384],
        [0x77, 640],
        [0x88, 704],
      ] as const) {
        assertHolds(path, pattern, offsetKib);
      }
    }
  });
});
