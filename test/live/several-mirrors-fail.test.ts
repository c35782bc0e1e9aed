/** One of several disks fails at an exact command: either all are as before, or all go forward, or it is said which one did not. */
import assert from "node:assert/strict";
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
    await assertRefused(rig.facade.endMirrors("d", "s1", "pivot"), "QM_QMP_COMMAND", ["job-complete", "not now"]);
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
    // Whoever dies now, this is true: one disk is on its source still.
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
      ] as const) {
        assertHolds(path, pattern, offsetKib);
      }
    }
  });
});
