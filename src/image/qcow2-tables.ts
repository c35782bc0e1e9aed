/**
 * What a qcow2 image's tables tell (QEMU's docs/interop/qcow2.txt): its internal snapshots and the guest data that it holds
 * itself. No process, and no lock: of an image that a QEMU writes to it is what had reached the file.
 */
import type { FileHandle } from "node:fs/promises";
import { QmError } from "../base/errors.ts";
import type { ImageRef } from "../model/image.ts";
import { readImageInfo, readSupportedHeader } from "./info.ts";
import { withImage } from "./open-image.ts";
import type { ImageName, Qcow2Header } from "./qcow2-header.ts";

export interface InternalSnapshot {
  /** Unique in the image. */
  readonly id: string;
  /** The tag; other programs may have used one twice. */
  readonly name: string;
  /** 0: disk only. */
  readonly vmStateBytes: number;
  /** Seconds since 1970. */
  readonly creationTime: number;
  readonly virtualSizeBytes: number;
}

/** QEMU's own limits. */
const maxSnapshots = 65536;
const maxSnapshotTableBytes = 64 * 1024 * 1024;
const maxL1Bytes = 32 * 1024 * 1024;

const fixedEntryBytes = 40;

/**
 * The internal snapshots of an image, oldest first; none in a raw image.
 * Errors: `QM_IMAGE_FORMAT` (a table that cannot be), and those of `withImage` and `readSupportedHeader`.
 */
export async function listInternalSnapshots(
  image: ImageRef,
  { disk }: { readonly disk: string },
): Promise<InternalSnapshot[]> {
  if (image.format === "raw") return [];
  const name = { disk, path: image.path };
  return await withImage(name, async (open) => {
    const header = await readSupportedHeader(open, name);
    const fields = await readBytes(open.file, 60, 12, name);
    const count = fields.readUInt32BE(0);
    const offset = Number(fields.readBigUInt64BE(4));
    if (count === 0) return [];
    const lengthBytes = Math.max(0, Math.min(Number(open.stats.size) - offset, maxSnapshotTableBytes));
    if (count > maxSnapshots || lengthBytes < count * fixedEntryBytes) throw malformed(name);
    // Entries have no fixed size, and the table none of its own: as much of it as these may need, the rest when they need more.
    let table = await readBytes(open.file, offset, Math.min(lengthBytes, count * 256), name);
    let snapshots = parseSnapshots(table, count, header);
    if (snapshots === undefined && table.length < lengthBytes) {
      table = await readBytes(open.file, offset, lengthBytes, name);
      snapshots = parseSnapshots(table, count, header);
    }
    if (snapshots === undefined) throw malformed(name);
    return snapshots;
  });
}

/** Undefined where the table is cut short. */
function parseSnapshots(table: Buffer, count: number, header: Qcow2Header): InternalSnapshot[] | undefined {
  const snapshots: InternalSnapshot[] = [];
  for (let at = 0; snapshots.length < count;) {
    if (at + fixedEntryBytes > table.length) return undefined;
    const idBytes = table.readUInt16BE(at + 12);
    const nameBytes = table.readUInt16BE(at + 14);
    const extraBytes = table.readUInt32BE(at + 36);
    const extra = at + fixedEntryBytes;
    const id = extra + extraBytes;
    const end = id + idBytes + nameBytes;
    if (end > table.length) return undefined;
    snapshots.push({
      id: table.toString("utf8", id, id + idBytes),
      name: table.toString("utf8", id + idBytes, end),
      vmStateBytes: extraBytes >= 8 ? Number(table.readBigUInt64BE(extra)) : table.readUInt32BE(at + 32),
      creationTime: table.readUInt32BE(at + 16),
      virtualSizeBytes: extraBytes >= 16 ? Number(table.readBigUInt64BE(extra + 8)) : header.virtualSizeBytes,
    });
    at = Math.ceil(end / 8) * 8;
  }
  return snapshots;
}

/**
 * Bytes of guest data that this layer holds itself: what merging it into another moves. Clusters that only say "zeros" count
 * nothing. Of a raw image: what its file takes; of a raw block device: all of it. Errors: as {@link listInternalSnapshots}.
 */
export async function allocatedDataBytes(image: ImageRef, { disk }: { readonly disk: string }): Promise<number> {
  const name = { disk, path: image.path };
  if (image.format === "raw") {
    const { allocatedBytes, virtualSizeBytes } = await readImageInfo(image, { disk });
    return image.type === "block" ? virtualSizeBytes : allocatedBytes;
  }
  return await withImage(name, async (open) => {
    const header = await readSupportedHeader(open, name);
    const fields = await readBytes(open.file, 36, 12, name);
    const { clusterSizeBytes } = header;
    const entryBytes = header.extendedL2 ? 16 : 8;
    const guestTables = Math.ceil(header.virtualSizeBytes / clusterSizeBytes / (clusterSizeBytes / entryBytes));
    const l1Bytes = Math.min(fields.readUInt32BE(0), guestTables) * 8;
    if (l1Bytes > maxL1Bytes) throw malformed(name);
    const l1 = await readBytes(open.file, Number(fields.readBigUInt64BE(4)), l1Bytes, name);
    let dataBytes = 0;
    for (let at = 0; at < l1.length; at += 8) {
      const tableOffset = Number(l1.readBigUInt64BE(at) & offsetMask);
      if (tableOffset === 0) continue;
      dataBytes += countData(await readBytes(open.file, tableOffset, clusterSizeBytes, name), header);
    }
    return dataBytes;
  });
}

const offsetMask = 0x00ff_ffff_ffff_fe00n;

/** Bytes of data that one L2 table maps. Numbers of 32 bits, since a large image has millions of entries. */
function countData(table: Buffer, { clusterSizeBytes, extendedL2 }: Qcow2Header): number {
  let parts = 0;
  for (let at = 0; at < table.length; at += extendedL2 ? 16 : 8) {
    const high = table.readUInt32BE(at);
    const low = table.readUInt32BE(at + 4);
    const compressed = (high & 0x4000_0000) !== 0;
    if (compressed) parts += 32;
    else if (extendedL2) parts += countBits(table.readUInt32BE(at + 12));
    else if ((low & 1) === 0 && ((high & 0x00ff_ffff) !== 0 || (low & 0xffff_fe00) !== 0)) parts += 32;
  }
  return (parts * clusterSizeBytes) / 32;
}

function countBits(value: number): number {
  let bits = 0;
  for (let rest = value >>> 0; rest !== 0; rest = (rest & (rest - 1)) >>> 0) bits++;
  return bits;
}

async function readBytes(file: FileHandle, offset: number, lengthBytes: number, name: ImageName): Promise<Buffer> {
  if (!Number.isSafeInteger(offset)) throw malformed(name);
  const buffer = Buffer.alloc(lengthBytes);
  for (let filled = 0; filled < lengthBytes;) {
    const { bytesRead } = await file.read(buffer, filled, lengthBytes - filled, offset + filled);
    if (bytesRead === 0) throw malformed(name);
    filled += bytesRead;
  }
  return buffer;
}

function malformed(name: ImageName): QmError {
  return new QmError("QM_IMAGE_FORMAT", { ...name, format: "qcow2", reason: "its tables are malformed" });
}
