import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readChain } from "../../src/image/chain.ts";
import { checkImage } from "../../src/image/check.ts";
import { compareChains } from "../../src/image/compare.ts";
import { copyLayer, flattenChain } from "../../src/image/copy.ts";
import { createOverlay, setBacking } from "../../src/image/create.ts";
import { createEmptyFile } from "../../src/image/files.ts";
import { readImageInfo } from "../../src/image/info.ts";
import { followProgress } from "../../src/image/progress.ts";
import { allocatedBytes } from "../../src/image/space.ts";
import { failsWith, image, qemuImg, qemuIo, scratchDirectory } from "./scratch.ts";

const disk = "vda";
const MiB = 1024 * 1024;

/** A base with data, holes and an internal snapshot, and an overlay with some data on it. */
function makeChain(directory: string) {
  const base = image(join(directory, "base,1:x.qcow2"));
  const top = image(join(directory, "top"));
  qemuImg("create", "-q", "-f", "qcow2", base.path, "64M");
  qemuIo(base.path, "write -P 1 0 8M", "write -P 2 20M 8M", "write -P 3 40M 1M");
  qemuImg("snapshot", "-c", "inner", base.path);
  qemuIo(base.path, "write -P 4 20M 64k");
  qemuImg("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base.path, top.path);
  qemuIo(top.path, "write -P 5 1M 2M");
  return { base, top, chain: [top, base] as const };
}

async function makeTarget(path: string, mode = 0o600): Promise<string> {
  await createEmptyFile(path, { disk, mode });
  return path;
}

test("layers copied one by one are the chain again: same bytes, features, holes, mode", async (t) => {
  const directory = scratchDirectory(t);
  const { base, top, chain } = makeChain(directory);
  truncateSync(base.path, statSync(base.path).size + 1001);
  truncateSync(base.path, statSync(base.path).size + 8 * MiB);
  const newBase = image(await makeTarget(join(directory, "new base"), 0o640));
  const newTop = image(await makeTarget(join(directory, "new,top")));
  const inode = statSync(newBase.path).ino;

  const progress: [number, number][] = [];
  await copyLayer({ from: base, to: newBase, disk, onProgress: (...step) => progress.push(step) });
  const size = statSync(base.path).size;
  assert.ok(readFileSync(base.path).equals(readFileSync(newBase.path)));
  assert.equal(statSync(newBase.path).mode & 0o777, 0o640);
  assert.equal(statSync(newBase.path).ino, inode);
  assert.ok((await allocatedBytes(newBase.path)) <= (await allocatedBytes(base.path)) + MiB);
  assert.deepEqual(progress[0], [0, size]);
  assert.deepEqual(progress.at(-1), [size, size]);
  assert.ok(progress.every(([done], index) => index === 0 || done >= (progress[index - 1]?.[0] ?? 0)));
  assert.match(qemuImg("snapshot", "-l", newBase.path), /inner/);

  await copyLayer({ from: top, to: newTop, disk });
  await setBacking({ image: newTop, backing: newBase });
  assert.deepEqual(await readChain(newTop, { disk }), [newTop, newBase]);
  await compareChains({ left: chain, right: [newTop, newBase], disk });
  for (const copy of [newTop, newBase]) {
    assert.deepEqual(await checkImage(copy), { corruptions: 0, leaks: 0, checkErrors: 0 });
  }
});

test("a chain is flattened into one image of either format, into the same file", async (t) => {
  const directory = scratchDirectory(t);
  const { chain } = makeChain(directory);
  for (const format of ["qcow2", "raw"] as const) {
    const to = image(await makeTarget(join(directory, `flat,${format}`), 0o640), format);
    await flattenChain({ chain, to, disk });
    assert.equal((await readImageInfo(to, { disk })).header?.backingName, undefined);
    assert.equal(statSync(to.path).mode & 0o777, 0o640);
    await compareChains({ left: chain, right: [to], disk });
  }
});

test("a difference in data is reported at its offset, one in size as such", async (t) => {
  const { base, top, chain } = makeChain(scratchDirectory(t));
  await assert.rejects(
    compareChains({ left: chain, right: [base], disk }),
    failsWith("QM_VERIFY_FAILED", /Content mismatch at offset 1048576!/),
  );
  qemuImg("resize", "-q", "-f", "qcow2", top.path, "65M");
  await assert.rejects(compareChains({ left: chain, right: [base], disk }), failsWith("QM_VERIFY_FAILED", /size/));
});

test("layers are opened as stated, not as their headers say", async (t) => {
  const directory = scratchDirectory(t);
  const { base, chain, top } = makeChain(directory);
  await setBacking({ image: top, backing: image(join(directory, "gone"), "raw") });
  const flat = image(await makeTarget(join(directory, "flat")));
  await flattenChain({ chain, to: flat, disk });
  await setBacking({ image: top, backing: base });
  await compareChains({ left: chain, right: [flat], disk });
});

test("the rate is kept, and an abort ends the copy", async (t) => {
  const directory = scratchDirectory(t);
  const { base, chain } = makeChain(directory);
  const slow = image(await makeTarget(join(directory, "slow")));
  const startMs = performance.now();
  // 17 MiB of data at 16 MiB/s.
  await copyLayer({ from: base, to: slow, disk, rateBytesPerS: 16 * MiB });
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs > 600, `${tookMs} ms`);
  for (const run of [
    (to: typeof base, signal: AbortSignal) => copyLayer({ from: base, to, disk, rateBytesPerS: MiB, signal }),
    (to: typeof base, signal: AbortSignal) => flattenChain({ chain, to, disk, rateBytesPerS: MiB, signal }),
  ]) {
    const to = image(await makeTarget(join(directory, `aborted${Math.random()}`)));
    const abortStartMs = performance.now();
    await assert.rejects(run(to, AbortSignal.timeout(200)), failsWith("QM_CANCELLED"));
    assert.ok(performance.now() - abortStartMs < 5000);
  }
});

test("targets that must not be written are refused untouched", async (t) => {
  const directory = scratchDirectory(t);
  const { base } = makeChain(directory);
  const used = join(directory, "used");
  writeFileSync(used, "mine");
  await assert.rejects(copyLayer({ from: base, to: image(used), disk }), failsWith("QM_FILE_EXISTS"));
  assert.equal(readFileSync(used, "utf8"), "mine");
  await assert.rejects(copyLayer({ from: base, to: base, disk }), failsWith("QM_SAME_FILE"));
  await assert.rejects(copyLayer({ from: base, to: image(join(directory, "no")), disk }), failsWith("QM_NO_FILE"));
  const unsupported = copyLayer({ from: base, to: image("/dev/null"), disk });
  await assert.rejects(unsupported, failsWith("QM_UNSUPPORTED"));
});

test("a full file system fails the copy with the reason", async (t) => {
  const { base } = makeChain(scratchDirectory(t));
  const mount = tmpfs(t, "4m");
  if (mount === undefined) return t.skip("cannot mount a tmpfs here");
  const to = image(await makeTarget(join(mount, "copy")));
  await assert.rejects(copyLayer({ from: base, to, disk }), failsWith("QM_IMAGE_TOOL", /No space left/));
});

test("a block device is read and written as such", async (t) => {
  const directory = scratchDirectory(t);
  const { base } = makeChain(directory);
  const backing = join(directory, "device");
  writeFileSync(backing, Buffer.alloc(MiB, 0xff));
  truncateSync(backing, 32 * MiB);
  const attached = spawnSync("losetup", ["-f", "--show", backing], { encoding: "utf8" });
  if (attached.status !== 0) return t.skip(`no loop device: ${attached.stderr.trim()}`);
  const path = attached.stdout.trim();
  t.after(() => execFileSync("losetup", ["-d", path]));
  const device = { type: "block", path, format: "qcow2" } as const;

  assert.equal((await readImageInfo({ ...device, format: "raw" }, { disk })).virtualSizeBytes, 32 * MiB);
  await assert.rejects(readImageInfo(image(path, "raw"), { disk }), failsWith("QM_IMAGE_FORMAT", /block device/));
  await copyLayer({ from: base, to: device, disk });
  const copied = readFileSync(backing).subarray(0, statSync(base.path).size);
  assert.ok(readFileSync(base.path).equals(copied));
  assert.deepEqual(await readChain(device, { disk }), [device]);
  await compareChains({ left: [base], right: [device], disk });
  const small = join(directory, "small");
  await makeTarget(small);
  await copyLayer({ from: device, to: image(small), disk });
  await compareChains({ left: [base], right: [image(small)], disk });
});

test("an overlay is created without its backing file, in the file that is there", async (t) => {
  const directory = scratchDirectory(t);
  const overlay = image(await makeTarget(join(directory, "over,lay"), 0o620));
  const backing = image(join(directory, "not,yet"), "raw");
  await createOverlay({ image: overlay, backing, sizeBytes: 5 * MiB, clusterSizeBytes: 4096 });
  const info = await readImageInfo(overlay, { disk });
  assert.equal(info.virtualSizeBytes, 5 * MiB);
  assert.equal(info.header?.clusterSizeBytes, 4096);
  assert.equal(info.header?.backingName, backing.path);
  assert.equal(info.header?.backingFormat, "raw");
  assert.equal(statSync(overlay.path).mode & 0o777, 0o620);
  const relative = createOverlay({ image: image("-o"), sizeBytes: MiB });
  await assert.rejects(relative, failsWith("QM_INVALID"));
});

test("checkImage counts leaks and corruptions", async (t) => {
  const { base } = makeChain(scratchDirectory(t));
  const data = readFileSync(base.path);
  const table = Number(data.readBigUInt64BE(48));
  const block = Number(data.readBigUInt64BE(table));
  data.writeUInt16BE(9, block + 2 * 5);
  data.writeUInt16BE(0, block + 2 * Number(data.readBigUInt64BE(40) / 65536n));
  writeFileSync(base.path, data);
  const result = await checkImage(base);
  assert.ok(result.corruptions > 0 && result.leaks > 0, JSON.stringify(result));
  writeFileSync(base.path, "x".repeat(1000));
  await assert.rejects(checkImage(base), failsWith("QM_IMAGE_TOOL", /qcow2/));
});

test("progress is put together from pieces and never falls", () => {
  const steps: number[] = [];
  const follow = followProgress(1000, (done) => steps.push(done));
  for (const piece of [
    "    (0.00/100%)\r    (1",
    "2.50/1",
    "00%)\r",
    "    (10.00/100%)\r    (50.04/100%)\r",
    "\n(100.00/100%)",
  ]) {
    follow(piece);
  }
  assert.deepEqual(steps, [0, 125, 500, 1000]);
});

function tmpfs(t: TestContext, size: string): string | undefined {
  const path = mkdtempSync(join(tmpdir(), "qmirror-tmpfs-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path]).status === 0;
  t.after(() => {
    if (mounted) execFileSync("umount", [path]);
    rmdirSync(path);
  });
  return mounted ? path : undefined;
}
