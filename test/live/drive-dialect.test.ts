/**
 * The dialect for QEMUs whose nodes cannot be named, on a real QEMU with a guest that writes. Its mirrors are opened without their
 * backing images: the pattern in every block of the base shows that nothing of it is lost.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { createOverlay } from "../../src/image/create.ts";
import { createDriveDialect } from "../../src/qemu/mirror-dialect/drive.ts";
import { checkImages } from "../../src/testing/witness/check-images.ts";
import { formatWitnessCmdline } from "../../src/testing/witness/cmdline.ts";
import { fillPattern } from "../../src/testing/witness/images.ts";
import { buildInitramfs } from "../../src/testing/witness/initramfs.ts";
import { followSerial, readSerialLog } from "../../src/testing/witness/serial-log.ts";
import type { QmpProxy } from "../../src/testing/qmp-proxy.ts";
import { openFiles, ServiceRig, type ForeignQemu } from "./service-rig.ts";
import { assertNothingLost, bootLimitMs, cacheDir } from "./witness-rig.ts";

const targets = ["vda", "vdb"];
const layout = { run: 0xd21fen, slots: 1024, offsetBytes: 1024 * 1024 };
const sizeBytes = 8 * 1024 * 1024;

describe("the drive dialect", () => {
  const rig = new ServiceRig();
  const serial = rig.path("console.log");
  let qemu: ForeignQemu;
  let proxy: QmpProxy;

  before(async () => {
    const guest = await buildInitramfs(cacheDir);
    rig.image("src/");
    const drives: string[] = [];
    for (const [disk, target] of targets.entries()) {
      const path = rig.image(`src/${target}`);
      await fillPattern({ path, format: "qcow2", sizeBytes, disk });
      drives.push("-drive", `file=${path},format=qcow2,if=none,id=drive${disk},cache=none`);
      drives.push("-device", `virtio-blk-pci,drive=drive${disk},id=${target}`);
    }
    const cmdline = formatWitnessCmdline({ disks: targets, intervalUs: 1000, ...layout });
    const kernel = ["-kernel", guest.kernel, "-initrd", guest.initrd, "-append", cmdline, "-serial", `file:${serial}`];
    qemu = await rig.startForeign(["-m", "160", "-no-reboot", ...kernel, ...drives], { paused: false });
    const dialect = createDriveDialect((_disk, image, backing, size, signal) =>
      createOverlay({ image, backing, sizeBytes: size, signal }),
    );
    await rig.open({ dialect });
    proxy = await rig.attachThroughProxy("old", qemu);
    await followSerial(serial, 20, AbortSignal.timeout(bootLimitMs));
  });
  after(() => rig.close());

  async function awaitWrites(count: number): Promise<void> {
    const { writes } = await readSerialLog(serial);
    await followSerial(serial, writes.length + count, AbortSignal.timeout(bootLimitMs));
  }

  function takeMirrored(name: string) {
    rig.image(`${name}/`);
    const diskspecs = targets.map(
      (target) => `${target},file=${rig.image(`${target}.${name}`)},mirror=${rig.image(`${name}/${target}`)}`,
    );
    return rig.facade.createSnapshot("old", { name, diskspecs });
  }

  test("a mirrored snapshot pivots to mirrors on the same base", async () => {
    const { snapshot } = await takeMirrored("s1");
    assert.deepEqual(
      snapshot?.disks.map((disk) => disk.mirror?.state),
      ["ready", "ready"],
    );
    await awaitWrites(40);
    await rig.facade.endMirrors("old", "s1", "pivot");
    assert.deepEqual(
      await rig.chains("old"),
      targets.map((target) => [rig.image(`s1/${target}`), rig.image(`src/${target}`)]),
    );
    assert.deepEqual(
      openFiles(qemu.pid).filter((path) => /\/vd[ab]\.s1$/.test(path)),
      [],
    );
    await awaitWrites(40);
  });

  test("an aborted one stays on its overlays and leaves no mirror", async () => {
    await takeMirrored("s2");
    await awaitWrites(20);
    await rig.facade.endMirrors("old", "s2", "abort");
    assert.deepEqual(readdirSync(rig.image("s2")), []);
    assert.deepEqual(
      (await rig.chains("old")).map(([active]) => active),
      targets.map((target) => rig.image(`${target}.s2`)),
    );
    assert.deepEqual(await qemu.eye.execute("query-jobs"), []);
    await awaitWrites(20);
  });

  test("a disk that QEMU refuses to move is mirrored forward while the guest writes", async () => {
    await takeMirrored("s3");
    await awaitWrites(20);
    for (const nth of [2, 3, 4]) proxy.faults.refuse("job-finalize", nth, "no");
    const forward = proxy.faults.hang("drive-mirror", 1);
    const pivot = rig.facade.endMirrors("old", "s3", "pivot");
    await forward.reached;
    await awaitWrites(40);
    forward.release();
    await pivot;
    assert.deepEqual(
      (await rig.chains("old")).map(([active]) => active),
      targets.map((target) => rig.image(`s3/${target}`)),
    );
    await awaitWrites(20);
  });

  test("a migration copies the whole chain, and lets go of the source", async () => {
    rig.image("dst/");
    const operation = await rig.facade.migrateStorage("old", { to: rig.image("dst"), verify: true });
    const final = await rig.finish(operation);
    assert.equal(final.state, "succeeded", JSON.stringify(final.error));
    for (const chain of await rig.chains("old")) {
      assert.equal(chain.length, 5);
      for (const path of chain) assert.ok(path.startsWith(rig.image("dst")), path);
    }
    const held = openFiles(qemu.pid).filter((path) => path.startsWith(rig.path("images")));
    assert.ok(held.every((path) => path.startsWith(rig.image("dst"))));
    await awaitWrites(40);
  });

  test("at the end every acknowledged write and all of the base is there", async () => {
    const paths = (await rig.chains("old")).map(([active]) => active ?? "");
    await rig.facade.detachDomain("old");
    await qemu.kill();
    const { acknowledged } = await readSerialLog(serial);
    const images = paths.map((path, disk) => ({ disk, path, format: "qcow2" as const }));
    assertNothingLost(await checkImages({ images, ...layout, acknowledged, pattern: true }));
  });
});
