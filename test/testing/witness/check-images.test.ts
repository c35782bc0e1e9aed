import assert from "node:assert/strict";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { isQmError } from "../../../src/base/errors.ts";
import { checkImages, type WitnessVerdict } from "../../../src/testing/witness/check-images.ts";
import { fillPattern } from "../../../src/testing/witness/images.ts";
import { blockBytes, buildRecord, slotOfRecord } from "../../../src/testing/witness/record.ts";

const [run, slots, offsetBytes, sizeBytes] = [77n, 64, 2 * blockBytes, 80 * blockBytes];

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "qmirror-check-"));
  for (const disk of [0, 1, 2]) await fillPattern({ path: pathOf(disk), format: "raw", sizeBytes, disk });
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const pathOf = (disk: number) => join(directory, `disk${disk}`);
const placeOf = (sequence: number) => offsetBytes + slotOfRecord(sequence, slots) * blockBytes;

async function writeAt(disk: number, offset: number, bytes: Buffer): Promise<void> {
  const file = await open(pathOf(disk), "r+");
  await file.write(bytes, 0, bytes.length, offset);
  await file.close();
}

/** Writes as the guest does, so that disk `index` ends with record `lasts[index]`. */
async function writeRecords(...lasts: number[]): Promise<void> {
  for (const [disk, last] of lasts.entries()) {
    for (let sequence = 1; sequence <= last; sequence++) {
      await writeAt(disk, placeOf(sequence), buildRecord(run, sequence, disk));
    }
  }
}

function check(...acknowledged: number[]): Promise<WitnessVerdict> {
  const images = [0, 1, 2].map((disk) => ({ disk, path: pathOf(disk), format: "raw" as const }));
  return checkImages({ images, run, slots, offsetBytes, pattern: true, acknowledged: new Map(acknowledged.entries()) });
}

const clean = { missing: 0, corrupt: 0, patternDamaged: 0, instantConsistent: true };

test("what was acknowledged is there, and one more write was in flight", async () => {
  await writeRecords(10, 9, 9);
  const lastSequence = new Map([9, 9, 9].entries()).set(0, 10);
  assert.deepEqual(await check(9, 9, 9), { ...clean, lastSequence });
});

test("disks without any record are consistent", async () => {
  assert.deepEqual(await check(), { ...clean, lastSequence: new Map([0, 0, 0].entries()) });
});

test("a record that replaced an older one in its slot counts as there", async () => {
  await writeRecords(slots + 6, slots + 5, slots + 5);
  assert.partialDeepStrictEqual(await check(slots + 5, slots + 5, slots + 5), clean);
  await writeAt(1, placeOf(slots + 2), buildRecord(run, 2, 1));
  const stale = await check(slots + 5, slots + 5, slots + 5);
  assert.partialDeepStrictEqual(stale, { ...clean, missing: 1, instantConsistent: false });
});

test("a lost record is missing, and the disk no longer shows one instant", async () => {
  await writeRecords(10, 10, 10);
  await writeAt(1, placeOf(5), Buffer.alloc(blockBytes));
  assert.partialDeepStrictEqual(await check(10, 10, 10), { ...clean, missing: 1, instantConsistent: false });
});

test("acknowledged records beyond the last one found are missing, though all disks agree", async () => {
  await writeRecords(8, 8, 8);
  assert.partialDeepStrictEqual(await check(10, 10, 10), { ...clean, missing: 6 });
});

test("a torn record, one of another disk and one in another place are corrupt", async () => {
  await writeRecords(10, 10, 10);
  const torn = buildRecord(run, 5, 0);
  torn.fill(0, 2048);
  await writeAt(0, placeOf(5), torn);
  await writeAt(1, placeOf(5), buildRecord(run, 5, 2));
  await writeAt(2, placeOf(5), buildRecord(run, 6, 2));
  assert.partialDeepStrictEqual(await check(10, 10, 10), { missing: 3, corrupt: 3, patternDamaged: 0 });
});

test("a block that the guest never wrote must keep its pattern, inside and outside the slots", async () => {
  await writeRecords(10, 10, 10);
  await writeAt(0, 0, Buffer.alloc(1));
  await writeAt(1, placeOf(40) + 100, Buffer.from("x"));
  await writeAt(2, sizeBytes - 1, Buffer.from("x"));
  assert.partialDeepStrictEqual(await check(10, 10, 10), { ...clean, patternDamaged: 3 });
});

for (const lasts of [
  [9, 10, 9],
  [11, 9, 9],
  [10, 10, 8],
  [10, 8, 9],
] as const) {
  test(`disks that end with records ${lasts.join(", ")} do not show one instant`, async () => {
    await writeRecords(...lasts);
    assert.partialDeepStrictEqual(await check(), { ...clean, instantConsistent: false });
  });
}

test("records of another run are not taken for this one's", async () => {
  await writeAt(0, placeOf(1), buildRecord(run + 1n, 1, 0));
  assert.partialDeepStrictEqual(await check(), { ...clean, patternDamaged: 1, lastSequence: new Map([[0, 0]]) });
});

test("an image that cannot be read is an error, not a verdict", async () => {
  await rm(pathOf(2));
  await assert.rejects(check(), (error) => isQmError(error, "QM_IMAGE_TOOL") && /disk2/.test(error.message));
});
