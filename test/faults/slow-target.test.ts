/** The target takes less than the guest writes. That is told, with both rates, and not waited for in silence. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { after, before, describe, test } from "node:test";
import type { OperationView } from "../../src/api-types/index.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { blockdevDisks } from "../live/service-rig.ts";
import { assertReads, awaitView, FaultRig, limitSpeed, writeUnflushed } from "./fault-rig.ts";

const chunkKib = 256;
/** More than what QEMU copies before it looks at the speed that it may have: 16 MiB. */
const dataKib = 24 * 1024;

/** A guest that writes without end, all over the first 7 MiB. Returns the function that ends it. */
function writeAlways(eye: Monitor): () => Promise<void> {
  let ended = false;
  const writing = (async () => {
    for (let chunk = 0; !ended; chunk++) {
      // QEMU counts what is written this way as its guest's, and not what `write` does.
      const write = `aio_write -q -P 0x55 ${(chunk * chunkKib) % dataKib}k ${chunkKib}k`;
      const command = `qemu-io -d /machine/peripheral/vda/virtio-backend "${write}"`;
      await eye.execute("human-monitor-command", { "command-line": command });
      await delay(20);
    }
  })();
  return async () => {
    ended = true;
    await writing;
  };
}

function assertSlow({ stall }: OperationView): void {
  assert.ok(stall?.kind === "not-converging", JSON.stringify(stall));
  const [slow] = stall.disks;
  assert.equal(slow?.target, "vda");
  assert.ok(slow.leftBytes > 1024 * 1024, stall.text);
  assert.ok(slow.guestWriteBytesPerS > 200 * 1024, stall.text);
  assert.ok(slow.jobBytesPerS < slow.guestWriteBytesPerS, stall.text);
  assert.match(
    stall.text,
    /^not converging: disk 'vda': \d+ bytes left, \d+ bytes\/s are copied, its guest writes \d+ bytes\/s$/,
  );
  assert.ok(Date.parse(stall.since) < Date.now() - 4000);
}

describe("the guest outruns the copy", { concurrency: true }, () => {
  const rig = new FaultRig();
  before(() => rig.open());
  after(() => rig.close());

  test("a merge of the active layer: both rates are told; with more speed it comes to its end", async () => {
    const base = rig.createImage("m.qcow2", { size: "32M" });
    const eye = await rig.start("m", [base]);
    const diskspecs = [`vda,file=${rig.image("m.top")}`];
    await rig.facade.createSnapshot("m", { name: "top", diskOnly: true, diskspecs, noMetadata: true });
    await writeUnflushed(eye, "vda", 0x55, 0, dataKib);
    const stopWriting = writeAlways(eye);
    const operation = await rig.facade.blockCommit("m", "vda", { bytesPerS: 64 * 1024 });
    try {
      const slow = await awaitView(rig.facade, operation.id, ({ stall }) => stall !== undefined);
      assertSlow(slow);
      assert.ok((slow.progress[0]?.totalBytes ?? 0) > 0);
    } finally {
      await rig.facade.setBlockJobSpeed("m", "vda", 0);
    }
    const final = await rig.finish(operation);
    await stopWriting();
    assert.equal(final.state, "succeeded", JSON.stringify(final));
    assert.equal(final.stall, undefined);
    assertReads(base, { 0: 0x55, 4096: 0x55 });
  });

  test("a mirror whose target takes nothing: both rates are told, and cancelling undoes it", async () => {
    const qemu = await rig.startForeign(blockdevDisks({ vda: rig.createImage("d.qcow2", { size: "32M" }) }));
    const relay = await rig.attachThroughRelay("d", qemu);
    relay.rewrite = limitSpeed("blockdev-mirror", 1);
    const chains = await rig.chains("d");
    rig.at("before start-mirrors", () => writeUnflushed(qemu.eye, "vda", 0x55, 0, dataKib));
    const operation = await rig.facade.migrateStorage("d", { to: rig.image("to/") });
    await awaitView(rig.facade, operation.id, ({ step }) => step === "await-ready");
    const slow = await awaitView(rig.facade, operation.id, ({ stall }) => stall !== undefined);
    assert.equal(slow.stall?.kind, "not-converging");
    assert.match(slow.stall.text, /disk 'vda': \d+ bytes left, 0 bytes\/s are copied, its guest writes 0 bytes\/s/);
    assert.ok((slow.progress[0]?.totalBytes ?? 0) > 0);
    const final = await rig.facade.cancelOperation(operation.id);
    assert.equal(final.state, "cancelled", JSON.stringify(final));
    assert.deepEqual(await rig.chains("d"), chains);
    assert.deepEqual(await qemu.eye.execute("query-jobs"), []);
    assertReads(chains[0]?.[0] ?? "", { 0: 0x55 });
    await rig.facade.detachDomain("d");
  });
});
