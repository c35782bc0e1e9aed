/** `blockcommit`, `blockpull` and `blockresize` through a service, with QEMUs without a guest and without QEMU. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, test } from "node:test";
import { BlockRig } from "./block-rig.ts";
import { assertRefused } from "./service-rig.ts";

const kib = 1024;
const sizeBytes = 8 * kib * kib;

describe("blockcommit and blockpull", () => {
  let rig: BlockRig;
  beforeEach(async () => {
    rig = await BlockRig.create();
  });
  afterEach(() => rig.close());

  const positions = [
    { name: "all into the lowest", request: () => ({}), left: [0] },
    { name: "the active image into the one below", request: () => ({ shallow: true }), left: [1, 0] },
    { name: "a middle image into its base", request: (of: BlockRig) => ({ top: of.layer(1) }), left: [2, 0] },
  ];
  for (const { name, request, left } of positions) {
    for (const running of [true, false]) {
      test(`commit of ${name}, ${running ? "running" : "shut off"}`, async () => {
        if (running) await rig.start();
        else await rig.define();
        if (running) await rig.write(0x55, 256);
        const { result } = await rig.succeed(rig.facade.blockCommit("g", "vda", request(rig)));
        assert.deepEqual(result?.["truth"], { vda: rig.layer(left[0] ?? 0) });
        await rig.assertChain(...left.map((place) => rig.layer(place)));
        for (const path of rig.chain) assert.ok(existsSync(path), `${path} is kept`);
        if (running) {
          await rig.write(0x66, 512);
          const open = left.map((place) => rig.layer(place)).toSorted();
          assert.deepEqual((await rig.openLayers()).toSorted(), open);
          await rig.destroy();
        }
        rig.assertData(rig.layer(left[0] ?? 0), running ? { 256: 0x55, 512: 0x66 } : {});
      });
    }
  }

  for (const running of [true, false]) {
    test(`pull of all and of some images, ${running ? "running" : "shut off"}`, async () => {
      if (running) await rig.start();
      else await rig.define();
      await assertRefused(rig.facade.blockPull("g", "vda", { base: rig.layer(1) }), "QM_INVALID", [rig.layer(0)]);
      await rig.succeed(rig.facade.blockPull("g", "vda", { base: rig.layer(0) }));
      await rig.assertChain(rig.layer(2), rig.layer(0));
      await rig.succeed(rig.facade.blockPull("g", rig.layer(2), {}));
      await rig.assertChain(rig.layer(2));
      if (running) await rig.destroy();
      rig.assertData(rig.layer(2));
      for (const path of rig.chain) assert.ok(existsSync(path), `${path} is kept`);
      await assertRefused(rig.facade.blockPull("g", "vda", {}), "QM_INVALID");
    });
  }

  test("on a transient domain the live definition follows", async () => {
    await rig.startTransient();
    await rig.succeed(rig.facade.blockCommit("g", "vda", {}));
    await rig.assertChain(rig.layer(0));
    await rig.destroy();
    rig.assertData(rig.layer(0));
  });

  test("what a snapshot, another image or another domain needs is refused, and named", async () => {
    await rig.start();
    const other = rig.createImage("other", { backing: rig.layer(1) });
    await rig.facade.defineDomain(rig.domainXml("h", [other]));
    await assertRefused(rig.facade.blockCommit("g", "vda", {}), "QM_SNAPSHOT_NEEDS_IMAGE", ["domain 'h'"]);
    await rig.facade.undefineDomain("h");
    const overlay = rig.image("s1");
    await rig.facade.createSnapshot("g", { name: "s1", diskspecs: [`vda,file=${overlay}`], diskOnly: true });
    const before = await rig.see("g", rig.eye);
    const commits = [{}, { shallow: true }, { top: rig.layer(2), base: rig.layer(1) }];
    for (const body of commits) {
      const words = [rig.layer(2), "snapshot 's1'", "snapshot-delete"];
      await assertRefused(rig.facade.blockCommit("g", "vda", body), "QM_SNAPSHOT_NEEDS_IMAGE", words);
    }
    assert.deepEqual(await rig.see("g", rig.eye), before);
    // Below the snapshot's own image nothing needs the layers as they are.
    await rig.succeed(rig.facade.blockCommit("g", "vda", { top: rig.layer(1) }));
    await rig.assertChain(overlay, rig.layer(2), rig.layer(0));
    await rig.succeed(rig.facade.blockPull("g", "vda", { base: rig.layer(0) }));
    await rig.assertChain(overlay, rig.layer(0));
    await rig.destroy();
    rig.assertData(overlay);
    rig.assertData(rig.layer(2));
  });

  test("names that are not of the chain, and a larger base, are refused", async () => {
    await rig.start();
    const refused = (body: object, code: "QM_INVALID" | "QM_UNSUPPORTED", names: string[]) =>
      assertRefused(rig.facade.blockCommit("g", "vda", body), code, names);
    await refused({ top: "/no/such" }, "QM_INVALID", ["/no/such", ...rig.chain]);
    await refused({ base: rig.layer(2) }, "QM_INVALID", rig.chain);
    await refused({ top: rig.layer(0) }, "QM_INVALID", rig.chain);
    await assertRefused(rig.facade.blockCommit("g", "vdz", {}), "QM_NO_DISK", ["vdz"]);
    await rig.destroy();
    execFileSync("qemu-img", ["resize", "-q", rig.layer(0), "16M"]);
    await refused({}, "QM_UNSUPPORTED", [rig.layer(0)]);
    const cut = rig.createImage("tagged", { backing: rig.layer(0) });
    execFileSync("qemu-img", ["snapshot", "-c", "t1", cut]);
    await rig.facade.defineDomain(rig.domainXml("i", [cut]));
    await assertRefused(rig.facade.blockCommit("i", "vda", {}), "QM_SNAPSHOT_NEEDS_IMAGE", ["'t1'"]);
  });

  test("a pull into an image whose internal snapshot needs what is below is refused", async () => {
    execFileSync("qemu-img", ["snapshot", "-c", "t1", rig.layer(2)]);
    await rig.define();
    await assertRefused(rig.facade.blockPull("g", "vda", {}), "QM_SNAPSHOT_NEEDS_IMAGE", ["'t1'", rig.layer(2)]);
  });

  test("a slow pull shows itself, takes another speed, and is given up; nothing changed", async () => {
    await rig.start();
    for (let at = 0; at < 16; at++) await rig.write(0x70, 2048 + 64 * at);
    await rig.succeed(rig.facade.blockCommit("g", "vda", { shallow: true }));
    const operation = await rig.facade.blockPull("g", "vda", { bytesPerS: 64 * kib });
    const job = await rig.facade.blockJob("g", "vda");
    assert.equal(job?.type, "pull");
    assert.equal(job?.operation, operation.id);
    assert.equal((await rig.facade.setBlockJobSpeed("g", "vda", 128 * kib)).bytesPerS, 128 * kib);
    await assertRefused(rig.facade.endBlockJob("g", "vda", "pivot"), "QM_INVALID", ["ends by itself"]);
    await assertRefused(rig.facade.blockResize("g", "vda", 2 * sizeBytes), "QM_DOMAIN_BUSY");
    assert.equal((await rig.facade.endBlockJob("g", "vda", "abort")).state, "cancelled");
    await rig.assertChain(rig.layer(1), rig.layer(0));
    assert.equal(await rig.facade.blockJob("g", "vda"), undefined);
    await assertRefused(rig.facade.endBlockJob("g", "vda", "abort"), "QM_NO_BLOCK_JOB");
    assert.deepEqual(await rig.eye.execute("query-jobs"), []);
  });

  test("a commit goes on after the daemon was away, and without QEMU", async () => {
    for (const dies of [false, true]) {
      if (dies) {
        await rig.destroy();
        await rig.facade.undefineDomain("g");
        rig.chain = [rig.layer(0), rig.createImage("mid2", { backing: rig.layer(0) })];
        rig.chain.push(rig.createImage("top2", { backing: rig.layer(1) }));
        for (const path of rig.chain.slice(1)) execFileSync("qemu-io", ["-c", "write -q -P 9 4M 64k", path]);
      }
      await rig.start();
      for (let at = 0; at < 16; at++) await rig.write(0x70, 2048 + 64 * at);
      const { id } = await rig.facade.blockCommit("g", "vda", { bytesPerS: (dies ? 512 : 64) * kib });
      await rig.closeInMiddle();
      if (dies) await rig.eye.execute("quit").catch(() => undefined);
      await rig.open();
      const found = await rig.facade.getOperation(id);
      if (found.state === "running") await rig.facade.setBlockJobSpeed("g", "vda", 0);
      const view = await rig.finish(found);
      assert.equal(view.state, "succeeded", JSON.stringify(view.error));
      await rig.assertChain(rig.layer(0));
      if (!dies) await rig.destroy();
      rig.assertData(rig.layer(0), { 2048: 0x70, 3008: 0x70 });
      if (!dies) await rig.facade.startDomain("g");
    }
  });
});

describe("blockresize", () => {
  let rig: BlockRig;
  beforeEach(async () => {
    rig = await BlockRig.create();
  });
  afterEach(() => rig.close());

  test("grows a disk, running or not; a smaller size is refused", async () => {
    await rig.start();
    await rig.facade.blockResize("g", "vda", 2 * sizeBytes);
    assert.equal((await rig.facade.domainDisks("g"))[0]?.sizeBytes, 2 * sizeBytes);
    await assertRefused(rig.facade.blockResize("g", "vda", sizeBytes), "QM_INVALID", [String(2 * sizeBytes)]);
    await assertRefused(rig.facade.blockResize("g", "vda", 1000), "QM_INVALID", ["512"]);
    await rig.destroy();
    await rig.facade.blockResize("g", "vda", 3 * sizeBytes);
    await assertRefused(rig.facade.blockResize("g", "vda", sizeBytes), "QM_INVALID");
    const info = JSON.parse(execFileSync("qemu-img", ["info", "--output=json", rig.layer(2)]).toString()) as object;
    assert.equal((info as { "virtual-size": number })["virtual-size"], 3 * sizeBytes);
    rig.assertData(rig.layer(2));
    await rig.facade.startDomain("g");
  });
});
