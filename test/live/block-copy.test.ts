/** `blockcopy` and `blockjob` through a service, on a QEMU without a guest. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { BlockCopyBody, OperationView } from "../../src/api-types/index.ts";
import { watchJobs } from "../../src/qemu/block-jobs.ts";
import { BlockRig, assertReads } from "./block-rig.ts";
import { assertRefused } from "./service-rig.ts";

const kib = 1024;
const sizeBytes = 8 * kib * kib;

describe("blockcopy", () => {
  let rig: BlockRig;
  beforeEach(async () => {
    rig = await BlockRig.create();
  });
  afterEach(() => rig.close());

  async function awaitReady(request: Promise<OperationView>): Promise<void> {
    await rig.succeed(request);
    assert.equal((await rig.facade.blockJob("g", "vda"))?.state, "ready");
  }

  for (const format of ["qcow2", "raw"] as const) {
    test(`full, to a new ${format}: guest writes go to both, and pivot switches over`, async () => {
      await rig.start();
      const dest = rig.image("copy");
      await awaitReady(rig.facade.blockCopy("g", "vda", { dest, format }));
      assert.equal((await rig.facade.blockJob("g", "vda"))?.type, "copy");
      await rig.write(0x55, 256);
      await rig.assertChain(rig.layer(2), rig.layer(1), rig.layer(0));
      await rig.facade.endBlockJob("g", "vda", "pivot");
      await rig.assertChain(dest);
      await rig.write(0x66, 512);
      assert.deepEqual(await rig.openLayers(), []);
      assert.equal(await rig.facade.blockJob("g", "vda"), undefined);
      await rig.destroy();
      if (format === "qcow2") rig.assertData(dest, { 256: 0x55, 512: 0x66 });
      else {
        assertReads(dest, "raw", ["read -P 3 1M 64k", "read -P 0x66 512k 64k"]);
        assert.ok(statSync(dest).blocks * 512 < sizeBytes / 2, "holes stay holes");
      }
      rig.assertData(rig.layer(2), { 256: 0x55 });
      await rig.facade.startDomain("g");
      await rig.assertChain(dest);
    });
  }

  for (const shallow of [false, true]) {
    test(`guest writes of parts of clusters while it copies are in it, ${shallow ? "shallow" : "full"}`, async () => {
      await rig.start();
      for (let at = 0; at < 16; at++) await rig.write(0x70, 2048 + 64 * at);
      const dest = rig.image("copy");
      const operation = await rig.facade.blockCopy("g", "vda", { dest, shallow, bytesPerS: 64 * kib });
      for (const offsetKib of [4, 68, 132, 1028, 2052, 3076, 6148]) {
        await rig.writePart(0x77, offsetKib);
      }
      assert.equal((await rig.facade.blockJob("g", "vda"))?.state, "running");
      assert.equal((await rig.facade.setBlockJobSpeed("g", "vda", 0)).bytesPerS, 0);
      assert.equal((await rig.finish(operation)).state, "succeeded");
      await rig.facade.endBlockJob("g", "vda", "pivot");
      await rig.destroy();
      execFileSync("qemu-img", ["compare", "-q", "-f", "qcow2", "-F", "qcow2", rig.layer(2), dest]);
      assertReads(dest, "qcow2", ["read -P 0x77 4k 4k", "read -P 1 8k 56k", "read -P 2 72k 56k", "read -P 0 7M 1M"]);
    });
  }

  test("shallow: the destination stands on the same image, writes of part of a cluster included", async () => {
    await rig.startTransient();
    const dest = rig.image("copy");
    await awaitReady(rig.facade.blockCopy("g", "vda", { dest, shallow: true }));
    await rig.writePart(0x77, 4);
    await rig.facade.endBlockJob("g", "vda", "pivot");
    await rig.assertChain(dest, rig.layer(1), rig.layer(0));
    await rig.destroy();
    assertReads(dest, "qcow2", ["read -P 1 0 4k", "read -P 0x77 4k 4k", "read -P 1 8k 56k", "read -P 3 1M 64k"]);
  });

  test("shallow over the user's own copy of what is below", async () => {
    await rig.start();
    const below = rig.image("below");
    execFileSync("qemu-img", ["convert", "-U", "-O", "qcow2", rig.layer(1), below]);
    const dest = rig.createImage("copy", { backing: below });
    await awaitReady(rig.facade.blockCopy("g", "vda", { dest, shallow: true, reuseExternal: true }));
    await rig.write(0x55, 256);
    await rig.facade.endBlockJob("g", "vda", "pivot");
    await rig.assertChain(dest, below);
    assert.deepEqual(await rig.openLayers(), []);
    await rig.destroy();
    rig.assertData(dest, { 256: 0x55 });
  });

  test("abort leaves the guest on its source, and the file as it was at that moment", async () => {
    await rig.start();
    const dest = rig.image("copy");
    await awaitReady(rig.facade.blockCopy("g", "vda", { dest }));
    await rig.write(0x55, 256);
    assert.equal((await rig.facade.endBlockJob("g", "vda", "abort")).state, "succeeded");
    await rig.write(0x66, 256);
    await rig.assertChain(rig.layer(2), rig.layer(1), rig.layer(0));
    rig.assertData(dest, { 256: 0x55 });
    await rig.destroy();
    rig.assertData(rig.layer(2), { 256: 0x66 });
  });

  test("given up before it is ready, it leaves nothing", async () => {
    await rig.start();
    for (let at = 0; at < 32; at++) await rig.write(0x70, 2048 + 64 * at);
    const before = await rig.see("g", rig.eye);
    const empty = rig.createImage("empty", { format: "raw", size: "0" });
    for (const dest of [rig.image("copy"), empty]) {
      await rig.facade.blockCopy("g", "vda", { dest, bytesPerS: 64 * kib });
      await assertRefused(rig.facade.endBlockJob("g", "vda", "pivot"), "QM_MIRROR_NOT_READY");
      assert.equal((await rig.facade.endBlockJob("g", "vda", "abort")).state, "cancelled");
    }
    assert.equal(statSync(empty).size, 0);
    const { files, ...now } = await rig.see("g", rig.eye);
    assert.deepEqual(now, { disks: before.disks, snapshots: before.snapshots, nodes: before.nodes, jobs: [] });
    assert.ok(!files.some((file) => file.startsWith(`${rig.image("copy")} `)));
  });

  test("a daemon that dies before it is ready undoes it; after that it is kept, and pivots", async () => {
    await rig.start();
    for (let at = 0; at < 32; at++) await rig.write(0x70, 2048 + 64 * at);
    const dest = rig.image("copy");
    const { id } = await rig.facade.blockCopy("g", "vda", { dest, bytesPerS: 64 * kib });
    await rig.closeInMiddle();
    await rig.open();
    const interrupted = await rig.finish(await rig.facade.getOperation(id));
    assert.equal(interrupted.error?.code, "QM_INTERRUPTED");
    assert.ok(!existsSync(dest));
    assert.deepEqual(await rig.eye.execute("query-jobs"), []);
    await awaitReady(rig.facade.blockCopy("g", "vda", { dest }));
    await rig.closeService();
    await rig.write(0x55, 256);
    await rig.open();
    assert.equal((await rig.facade.blockJob("g", "vda"))?.state, "ready");
    await rig.facade.endBlockJob("g", "vda", "pivot");
    await rig.assertChain(dest);
    await rig.destroy();
    rig.assertData(dest, { 256: 0x55 });
  });

  test("the end of QEMU ends the copy: the source is the truth", async () => {
    await rig.start();
    const dest = rig.image("copy");
    await awaitReady(rig.facade.blockCopy("g", "vda", { dest }));
    await rig.write(0x55, 256);
    await rig.destroy();
    rig.assertData(rig.layer(2), { 256: 0x55 });
    await rig.facade.startDomain("g");
    assert.equal(await rig.facade.blockJob("g", "vda"), undefined);
    await rig.assertChain(rig.layer(2), rig.layer(1), rig.layer(0));
  });

  test("a copy that ended by itself is forgotten", async () => {
    await rig.start();
    const dest = rig.image("copy");
    await awaitReady(rig.facade.blockCopy("g", "vda", { dest }));
    const [job] = await rig.eye.execute("query-jobs");
    const id = job?.id ?? "";
    const watch = watchJobs(rig.eye, [{ id, disk: "vda" }]);
    await rig.eye.execute("block-job-cancel", { device: id });
    await watch.refresh();
    await watch.until(["pending"], { what: "draining" });
    await rig.eye.execute("job-finalize", { id });
    await watch.until(["concluded"], { what: "ending" });
    watch.close();
    assert.equal(await rig.facade.blockJob("g", "vda"), undefined);
    assert.deepEqual(await rig.eye.execute("query-jobs"), []);
    const nodes = await rig.eye.execute("query-named-block-nodes", { flat: true });
    assert.ok(!nodes.some(({ file }) => file === dest), "its nodes are closed");
  });

  test("destinations that cannot be are refused, and nothing is changed", async () => {
    await rig.start();
    const before = await rig.see("g", rig.eye);
    const full = rig.createImage("full", { pattern: 7 });
    const small = rig.createImage("small", { size: "4M" });
    const standing = rig.createImage("standing", { backing: rig.layer(1) });
    const files = rig.files();
    const refused = (body: BlockCopyBody, code: Parameters<typeof assertRefused>[1], names: string[] = []) =>
      assertRefused(rig.facade.blockCopy("g", "vda", body), code, names);
    await refused({ dest: full }, "QM_FILE_EXISTS", [full]);
    await refused({ dest: small, reuseExternal: true }, "QM_IMAGE_FORMAT", [small]);
    await refused({ dest: standing, reuseExternal: true }, "QM_IMAGE_FORMAT", [standing, rig.layer(1)]);
    await refused({ dest: full, reuseExternal: true, shallow: true }, "QM_IMAGE_FORMAT", [full]);
    await refused({ dest: rig.layer(0), reuseExternal: true }, "QM_SAME_FILE", [rig.layer(0), "'g'"]);
    await refused({ dest: rig.image("none"), reuseExternal: true }, "QM_NO_FILE");
    await refused({ dest: rig.image("none"), destType: "block" }, "QM_NO_FILE");
    await refused({ dest: rig.image("r"), shallow: true, format: "raw" }, "QM_INVALID", ["qcow2"]);
    await refused({ dest: "/no/such/dir/x" }, "QM_NO_DIRECTORY");
    assert.deepEqual(await rig.see("g", rig.eye), { ...before, files });
    await rig.destroy();
    await refused({ dest: rig.image("copy") }, "QM_DOMAIN_NOT_RUNNING");
  });

  test("while it is there, other work on the disk is refused by name", async () => {
    await rig.start();
    const dest = rig.image("copy");
    await awaitReady(rig.facade.blockCopy("g", "vda", { dest }));
    const words = ["'vda'", dest];
    await assertRefused(rig.facade.blockCommit("g", "vda", {}), "QM_BLOCK_COPY", words);
    await assertRefused(rig.facade.blockPull("g", "vda", {}), "QM_BLOCK_COPY", words);
    await assertRefused(rig.facade.blockCopy("g", "vda", { dest: rig.image("c2") }), "QM_BLOCK_COPY", words);
    await assertRefused(rig.facade.blockResize("g", "vda", 2 * sizeBytes), "QM_BLOCK_COPY", words);
    await rig.facade.setBlockJobSpeed("g", "vda", 1_000_000);
    assert.equal((await rig.facade.blockJob("g", "vda"))?.bytesPerS, 1_000_000);
  });
});
