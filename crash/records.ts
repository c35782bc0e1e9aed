/** Where records are, what they look like, and which of them an image holds. */
import { open, readFile, rm } from "node:fs/promises";
import { runQemuImg } from "../src/image/run-qemu-img.ts";

const blockBytes = 4096;
/** What a disk holds from the start, below the records. */
const patternBytes = 1024 * 1024;
/** On one disk. */
export const maxRecords = 3072;
export const diskBytes = patternBytes + maxRecords * blockBytes;

export function byteOf(record: number): number {
  return 1 + ((record * 7) % 251);
}

export function offsetOf(record: number, disks: number): number {
  return patternBytes + Math.floor(record / disks) * blockBytes;
}

/** A raw image with the pattern of that disk. */
export async function writePattern(path: string, disk: number): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.write(Buffer.alloc(patternBytes, 0xc0 + disk));
    await file.truncate(diskBytes);
  } finally {
    await file.close();
  }
}

export interface DiskRecords {
  readonly found: ReadonlySet<number>;
  /** Blocks that hold neither a whole record of theirs nor nothing, and those of the pattern that are damaged. */
  readonly damaged: number;
}

/** Reads the image as a guest would, or its internal snapshot `tag`; through `scratch`, a file that is removed. */
export async function readRecords(
  image: { readonly path: string; readonly format: string },
  { disk, disks, scratch, tag }: { disk: number; disks: number; scratch: string; tag?: string },
): Promise<DiskRecords> {
  const snapshot = tag === undefined ? [] : ["-l", `snapshot.name=${tag}`];
  const args = ["convert", ...snapshot, "-f", image.format, "-O", "raw", image.path, scratch];
  await runQemuImg(args, { path: image.path });
  const bytes = await readFile(scratch);
  await rm(scratch);
  return scan(bytes, disk, disks);
}

function scan(bytes: Buffer, disk: number, disks: number): DiskRecords {
  const found = new Set<number>();
  let damaged = bytes.length === diskBytes ? 0 : 1;
  const isFilled = (offset: number, byte: number): boolean =>
    bytes[offset] === byte &&
    bytes.compare(bytes, offset + 1, offset + blockBytes, offset, offset + blockBytes - 1) === 0;
  for (let offset = 0; offset < bytes.length; offset += blockBytes) {
    const record = ((offset - patternBytes) / blockBytes) * disks + disk;
    if (offset < patternBytes) damaged += isFilled(offset, 0xc0 + disk) ? 0 : 1;
    else if (isFilled(offset, 0)) continue;
    else if (isFilled(offset, byteOf(record))) found.add(record);
    else damaged += 1;
  }
  return { found, damaged };
}
