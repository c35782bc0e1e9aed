/** Storage answers with errors: the destination of a mirror, the overlay that it reads, the image that is copied. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, truncateSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { isJsonObject, type JsonObject } from "../../src/qmp/framing.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { assertRefused, blockdevDisks, writeThroughDevice, type ForeignQemu } from "../live/service-rig.ts";
import { assertFailed, assertReads, FaultRig, type Relay } from "./fault-rig.ts";

/** A `rewrite` that puts QEMU's blkdebug, with these rules, above the file at `path` when it is opened. */
function breakFile(path: string, rules: JsonObject): Relay["rewrite"] {
  return (request) => {
    const args = request["arguments"];
    if (request["execute"] !== "blockdev-add" || !isJsonObject(args) || args["filename"] !== path) return request;
    const { "node-name": name, ...image } = args;
    return { ...request, arguments: { driver: "blkdebug", "node-name": name, image, ...rules } };
  };
}

const badWrites = (errno: number) => ({ "inject-error": [{ event: "write_aio", errno }] });
/** The first write of the guest is let through, and no flush after it. */
const badFlushes = (errno: number) => ({ "inject-error": [{ event: "write_aio", iotype: "flush", errno }] });
const badFirstRead = { "inject-error": [{ event: "read_aio", errno: 5, once: true }] };
const badReads = { "inject-error": [{ event: "read_aio", errno: 5 }] };

describe("QEMU's storage answers with errors", () => {
  const rig = new FaultRig();
  let qemu: ForeignQemu;
  let relay: Relay;
  const base = rig.path("images", "vda.qcow2");
  before(async () => {
    await rig.open();
    rig.createImage("vda.qcow2", { pattern: 7 });
    qemu = await rig.startForeign(blockdevDisks({ vda: base }));
    relay = await rig.attachThroughRelay("d", qemu);
  });
  after(() => rig.close());

  const takeMirrored = (name: string, rules: JsonObject) => {
    relay.rewrite = breakFile(rig.image(`${name}.mirror`), rules);
    return rig.facade.createSnapshot("d", {
      name,
      diskspecs: [`vda,file=${rig.image(`${name}.overlay`)},mirror=${rig.image(`${name}.mirror`)}`],
    });
  };
  const mirrorState = async (name: string) => (await rig.facade.getSnapshot("d", name)).disks[0]?.mirror;
  async function assertOn(path: string, written: Readonly<Record<number, number>>): Promise<void> {
    assert.equal((await rig.chains("d"))[0]?.[0], path);
    assert.deepEqual(await qemu.eye.execute("query-jobs"), []);
    assertReads(path, { 0: 7, ...written });
  }

  test("EIO of a mirror's write: the guest hears nothing of it, the mirror is broken and says why", async () => {
    await takeMirrored("s1", badWrites(5));
    const events = rig.facade.watchEvents({ domain: "d" }, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
    const broken = events.next();
    await writeThroughDevice(qemu.eye, "vda", 0x11, 1024);
    const { value: event } = await broken;
    assert.deepEqual([event?.type, event?.detail["state"]], ["mirror", "broken"]);
    assert.deepEqual(await mirrorState("s1").then((mirror) => [mirror?.state, mirror?.reason]), [
      "broken",
      "Input/output error",
    ]);
    await assertRefused(rig.facade.endMirrors("d", "s1", "pivot"), "QM_MIRROR_BROKEN", ["'vda'", "Input/output error"]);
    await rig.facade.endMirrors("d", "s1", "abort");
    assert.equal(readdirSync(rig.path("images")).includes("s1.mirror"), false);
    await assertOn(rig.image("s1.overlay"), { 1024: 0x11 });
  });

  for (const [errno, words] of [
    [5, "Input/output error"],
    [28, "No space left on device"],
  ] as const) {
    test(`'${words}' of a mirror's flush in the drain: the pivot is given up, every disk stays on its source`, async () => {
      const name = `drain${errno}`;
      await takeMirrored(name, badFlushes(errno));
      await writeThroughDevice(qemu.eye, "vda", errno, 1088 + errno * 64);
      const names = errno === 28 ? [rig.image(`${name}.mirror`), "bytes are free"] : [];
      const refused = assertRefused(rig.facade.endMirrors("d", name, "pivot"), "QM_PIVOT_REFUSED", [words, ...names]);
      assert.match(await refused, /'vda'.*every disk stays on its source/);
      assert.equal((await mirrorState(name))?.state, "broken");
      await rig.facade.endMirrors("d", name, "abort");
      await assertOn(rig.image(`${name}.overlay`), { [1088 + errno * 64]: errno });
    });
  }

  test("EIO of the overlay, which a mirror reads once: nothing is begun, and the write is where it was", async () => {
    const [before] = await rig.chains("d");
    const overlay = rig.image("s2.overlay");
    relay.rewrite = breakFile(overlay, badFirstRead);
    rig.at("before start-mirrors", () => writeThroughDevice(qemu.eye, "vda", 0x22, 4096));
    const diskspecs = [`vda,file=${overlay},mirror=${rig.image("s2.mirror")}`];
    await assertRefused(rig.facade.createSnapshot("d", { name: "s2", diskspecs }), "QM_JOB_FAILED", [
      ...["'vda'", "mirror", "Input/output error"],
    ]);
    assert.deepEqual(await rig.chains("d"), [before]);
    await assertOn(before?.[0] ?? "", { 4096: 0x22 });
    assert.deepEqual(
      readdirSync(rig.path("images")).filter((name) => name.startsWith("s2")),
      [],
    );
  });

  test("EIO of the overlay for good: it cannot be merged back either, and the guest stays on it", async () => {
    const overlay = rig.image("s3.overlay");
    relay.rewrite = breakFile(overlay, badReads);
    rig.at("before start-mirrors", () => writeThroughDevice(qemu.eye, "vda", 0x33, 4608));
    const diskspecs = [`vda,file=${overlay},mirror=${rig.image("s3.mirror")}`];
    await assertRefused(rig.facade.createSnapshot("d", { name: "s3", diskspecs }), "QM_ROLLBACK", [
      ...["'vda'", "Input/output error", "undoing it stopped"],
    ]);
    assert.equal((await rig.chains("d"))[0]?.[0], overlay);
    assert.equal((await rig.facade.getSnapshot("d", "s3")).mirrored, false);
    assert.equal(readdirSync(rig.path("images")).includes("s3.mirror"), false);
    // What cannot be read by QEMU can be by others: the file is as good as it was.
    await rig.facade.detachDomain("d");
    await qemu.kill();
    assertReads(overlay, { 0: 7, 4096: 0x22, 4608: 0x33 });
  });
});

test("EIO of the source while it is copied: the error names disk, file and place, and everything is as before", async (t) => {
  const rig = new FaultRig();
  t.after(() => rig.close());
  await rig.open();
  const sizeBytes = 8 * 1024 * 1024;
  const store = rig.path("store");
  writeFileSync(store, Buffer.alloc(sizeBytes, 0x5a));
  const device = execFileSync("losetup", ["--find", "--show", store], { encoding: "utf8" }).trim();
  const xml = rig
    .domainXml("b", [device], "raw")
    .replace("<disk type='file'", "<disk type='block'")
    .replace("<source file=", "<source dev=");
  await rig.facade.defineDomain(xml);
  await rig.facade.startDomain("b");
  const eye: Monitor = await rig.watch("b");
  // Takes effect when QEMU has closed it, whatever becomes of this process.
  execFileSync("losetup", ["--detach", device]);
  rig.at("before copy-layers", () => {
    // What the device has no bytes for any more cannot be read.
    truncateSync(store, sizeBytes / 2);
    execFileSync("blockdev", ["--flushbufs", device]);
  });
  const chains = await rig.chains("b");
  const to = rig.image("to/");
  const final = await rig.finish(await rig.facade.migrateStorage("b", { to }));
  assertFailed(final, "QM_IMAGE_TOOL", [device, "'vda'", "reading", "Input/output error"]);
  truncateSync(store, sizeBytes);
  assert.deepEqual(await rig.chains("b"), chains);
  assert.deepEqual(readdirSync(to), []);
  assert.deepEqual(await eye.execute("query-jobs"), []);
  await writeThroughDevice(eye, "vda", 1, 0);
});
