import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { checkImages, type WitnessImage } from "../../src/testing/witness/check-images.ts";
import { formatWitnessCmdline, type WitnessOptions } from "../../src/testing/witness/cmdline.ts";
import { fillPattern } from "../../src/testing/witness/images.ts";
import { buildInitramfs, type GuestImages } from "../../src/testing/witness/initramfs.ts";
import { blockBytes, slotOfRecord } from "../../src/testing/witness/record.ts";
import { followSerial, readSerialLog } from "../../src/testing/witness/serial-log.ts";

const runTool = promisify(execFile);
const cacheDir = fileURLToPath(new URL("../../.cache", import.meta.url));
const [run, slots, offsetBytes, sizeBytes] = [0x5eedn, 1024, 1024 * 1024, 6 * 1024 * 1024];
const bootLimitMs = 60_000;

let directory: string;
let guest: GuestImages;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "qmirror-live-witness-"));
  guest = await buildInitramfs(cacheDir);
});
after(() => rm(directory, { recursive: true, force: true }));

const pathOf = (name: string) => join(directory, name);

async function makeDisks(prefix: string, count: number): Promise<WitnessImage[]> {
  const images = Array.from({ length: count }, (_, disk) => {
    return { disk, path: pathOf(`${prefix}${disk}.qcow2`), format: "qcow2" as const };
  });
  for (const image of images) await fillPattern({ ...image, sizeBytes });
  return images;
}

/** Starts QEMU with the witness guest, its console in `serial`; whatever happens, it is gone when the test ends. */
function startGuest(
  t: TestContext,
  serial: string,
  images: readonly WitnessImage[],
  bus: "vd" | "sd",
  extra: Partial<WitnessOptions>,
) {
  const disks = images.map(({ disk }) => bus + String.fromCharCode(97 + disk));
  const devices = images.flatMap(({ disk, path }) => {
    const file = { driver: "file", filename: path };
    const node = { driver: "qcow2", "node-name": `node${disk}`, cache: { direct: true }, file };
    const model = bus === "vd" ? "virtio-blk-pci" : "scsi-hd";
    return ["-blockdev", JSON.stringify(node), "-device", `${model},drive=node${disk}`];
  });
  const args = ["-accel", "tcg", "-machine", "q35", "-m", "128", "-nodefaults", "-display", "none", "-no-reboot"];
  args.push("-kernel", guest.kernel, "-initrd", guest.initrd, "-serial", `file:${serial}`);
  args.push("-append", formatWitnessCmdline({ disks, run, slots, offsetBytes, ...extra }));
  if (bus === "sd") args.push("-device", "virtio-scsi-pci");
  const qemu = spawn("qemu-system-x86_64", [...args, ...devices], { stdio: "inherit" });
  const gone = once(qemu, "exit");
  t.after(async () => {
    qemu.kill("SIGKILL");
    await gone;
  });
  return { qemu, gone };
}

const clean = { missing: 0, corrupt: 0, patternDamaged: 0, instantConsistent: true };

test("a guest killed in the middle of its writes leaves every acknowledged record, and the checker sees damage", async (t) => {
  const images = await makeDisks("killed", 3);
  const [first, second] = images;
  assert.ok(first && second);
  // The first disk is an overlay: a record there fills part of a cluster, the rest comes from the base
  const unwritten = pathOf("unwritten.qcow2");
  await copyFile(second.path, unwritten);
  const overlay = { ...first, path: pathOf("overlay.qcow2") };
  await runTool("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", first.path, overlay.path]);
  const active = [overlay, ...images.slice(1)];

  const serial = pathOf("killed.serial");
  const startMs = performance.now();
  const { qemu, gone } = startGuest(t, serial, active, "vd", {});
  await followSerial(serial, 1, AbortSignal.timeout(bootLimitMs));
  const bootedMs = performance.now();
  const writing = await followSerial(serial, 200, AbortSignal.timeout(bootLimitMs));
  const writesPerSecond = (200 / (performance.now() - bootedMs)) * 1000;
  qemu.kill("SIGKILL");
  await gone;
  t.diagnostic(
    `first write after ${Math.round(bootedMs - startMs)} ms, about ${Math.round(writesPerSecond)} writes/s, longest ${writing.maxLatencyUs} µs`,
  );

  const { acknowledged, writes } = await readSerialLog(serial);
  assert.ok(writes.length >= 200);
  assert.deepEqual(
    [...acknowledged.keys()].toSorted((a, b) => a - b),
    [0, 1, 2],
  );
  const check = { run, slots, offsetBytes, acknowledged, pattern: true };
  assert.partialDeepStrictEqual(await checkImages({ ...check, images: active }), clean);

  const older = active.map((image) => (image.disk === 1 ? { ...image, path: unwritten } : image));
  const mixed = await checkImages({ ...check, images: older });
  assert.partialDeepStrictEqual(mixed, { ...clean, missing: acknowledged.get(1), instantConsistent: false });

  const lostAt = offsetBytes + slotOfRecord(7, slots) * blockBytes;
  await runTool("qemu-io", ["-f", "qcow2", "-c", `write -z ${lostAt} ${blockBytes}`, overlay.path]);
  const damaged = await checkImages({ ...check, images: active });
  assert.partialDeepStrictEqual(damaged, { ...clean, missing: 1, instantConsistent: false });
});

test("a guest on a SCSI bus writes what it was told to and powers off", async (t) => {
  const images = await makeDisks("counted", 2);
  const serial = pathOf("counted.serial");
  const { qemu, gone } = startGuest(t, serial, images, "sd", { count: 5, intervalUs: 1000 });
  const limit = setTimeout(() => qemu.kill("SIGKILL"), bootLimitMs);
  assert.deepEqual(await gone, [0, null]);
  clearTimeout(limit);
  const { acknowledged } = await readSerialLog(serial);
  const lastSequence = new Map([5, 5].entries());
  assert.deepEqual(acknowledged, lastSequence);
  const verdict = await checkImages({ images, run, slots, offsetBytes, acknowledged, pattern: true });
  assert.deepEqual(verdict, { ...clean, lastSequence });
});
