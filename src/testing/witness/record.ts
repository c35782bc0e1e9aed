/**
 * What the witness guest writes, computed a second time on the host. A record is one block of 4096 bytes, little endian:
 *
 * | offset | bytes | content |
 * | --- | --- | --- |
 * | 0 | 8 | `WITNESS1` |
 * | 8 | 8 | the run's id |
 * | 16 | 8 | the sequence number, from 1 |
 * | 24 | 8 | the disk's index, from 0 |
 * | 32 | 4064 | 32-bit numbers of a generator seeded with the three above |
 *
 * The body is the checksum: the header alone determines each of its bytes. `writer-program.ts` has the same arithmetic in
 * machine code; a test runs it and compares.
 */
export const blockBytes = 4096;

/** Neighbouring records go 17 blocks apart: into different qcow2 clusters of 64 KiB, each only partly written. */
const slotStride = 17;

const recordMagic = Buffer.from("WITNESS1");
const patternMagic = Buffer.from("PATTERN1");

/** Records of sequence `n` and `n + slots` share a slot. `slots` must not be a multiple of 17. */
export function slotOfRecord(sequence: number, slots: number): number {
  return (sequence * slotStride) % slots;
}

/** True when every slot is used: two sequence numbers less than `slots` apart never share one. */
export function isSlotCount(slots: number): boolean {
  return Number.isSafeInteger(slots) && slots > 0 && slots < 2 ** 32 && slots % slotStride !== 0;
}

/** The 4096 bytes of one record. */
export function buildRecord(run: bigint, sequence: number, disk: number): Buffer {
  return buildBlock(recordMagic, run, sequence, disk);
}

/** The 4096 bytes that block number `block` of a disk has before the guest writes. */
export function buildPatternBlock(block: number, disk: number): Buffer {
  return buildBlock(patternMagic, 0n, block, disk);
}

export type BlockContent = "other" | "corrupt" | { readonly sequence: number };

/**
 * Tells a record of this run and disk from anything else: `corrupt` when it begins like one of this run but differs from what
 * its own header determines, or belongs to another disk.
 */
export function readRecord(block: Buffer, run: bigint, disk: number): BlockContent {
  if (!block.subarray(0, 8).equals(recordMagic) || block.readBigUInt64LE(8) !== run) return "other";
  const sequence = Number(block.readBigUInt64LE(16));
  if (!Number.isSafeInteger(sequence) || sequence < 1) return "corrupt";
  return block.equals(buildRecord(run, sequence, disk)) ? { sequence } : "corrupt";
}

function buildBlock(magic: Buffer, run: bigint, number: number, disk: number): Buffer {
  const words = new Uint32Array(blockBytes / 4);
  const block = Buffer.from(words.buffer);
  magic.copy(block);
  block.writeBigUInt64LE(run, 8);
  block.writeBigUInt64LE(BigInt(number), 16);
  block.writeBigUInt64LE(BigInt(disk), 24);
  let word = (Number(run & 0xffffffffn) + Math.imul(number, 0x9e3779b1) + Math.imul(disk, 0x85ebca77)) | 0;
  for (let index = 8; index < words.length; index++) {
    word = (Math.imul(word, 1664525) + 1013904223) | 0;
    words[index] = word;
  }
  return block;
}
