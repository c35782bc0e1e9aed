/**
 * Reads a qcow2 header (QEMU's docs/interop/qcow2.txt) without a process and without opening any other file. The bytes are a
 * guest's or a stranger's: every length is checked before it is used.
 */
import type { FileHandle } from "node:fs/promises";
import { QmError } from "../base/errors.ts";

const magic = 0x514649fb;
const minClusterBits = 9;
const maxClusterBits = 21;
const maxBackingNameBytes = 1023;
const backingFormatExtension = 0xe2792aca;
const knownIncompatibleBits = 0x1fn;
const firstReadBytes = 64 * 1024;

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly virtualSizeBytes: number;
  readonly clusterSizeBytes: number;
  /** As stored: absolute, relative to the image's directory, or something that only QEMU understands. */
  readonly backingName?: string;
  readonly backingFormat?: string;
  readonly encrypted: boolean;
  /** Guest data lies in another file. */
  readonly dataFile: boolean;
  readonly extendedL2: boolean;
  /** Marked so by QEMU: it refuses to write to the image. */
  readonly corrupt: boolean;
  readonly unknownFeatures: boolean;
}

/** What errors name. */
export interface ImageName {
  readonly disk: string;
  readonly path: string;
}

/** Reads the header of an open image. Errors: as {@link parseQcow2Header}, and the file system's own. */
export async function readQcow2Header(file: FileHandle, name: ImageName): Promise<Qcow2Header> {
  const start = await readStart(file, firstReadBytes);
  const clusterBits = start.length < 24 ? 0 : start.readUInt32BE(20);
  // The backing file's name may lie anywhere in the first cluster.
  const larger = clusterBits > 16 && clusterBits <= maxClusterBits;
  return parseQcow2Header(larger ? await readStart(file, 2 ** clusterBits) : start, name);
}

/**
 * Parses the first cluster of an image (all of the file where that is shorter).
 * Throws `QM_IMAGE_FORMAT` when it is no qcow2 image that QEMU would accept.
 */
export function parseQcow2Header(bytes: Uint8Array, name: ImageName): Qcow2Header {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const refuse = (reason: string) => new QmError("QM_IMAGE_FORMAT", { ...name, format: "qcow2", reason });
  if (data.length < 4 || data.readUInt32BE(0) !== magic) throw refuse("it has no qcow2 header");
  if (data.length < 72) throw refuse("its header is cut short");
  const version = data.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw refuse(`version ${version} is unknown`);
  if (version === 3 && data.length < 104) throw refuse("its header is cut short");

  const clusterBits = data.readUInt32BE(20);
  if (clusterBits < minClusterBits || clusterBits > maxClusterBits) throw refuse(`cluster bits ${clusterBits}`);
  const clusterSizeBytes = 2 ** clusterBits;
  const virtualSizeBytes = Number(data.readBigUInt64BE(24));
  if (!Number.isSafeInteger(virtualSizeBytes)) throw refuse("its virtual size is out of range");
  const headerLength = version === 2 ? 72 : data.readUInt32BE(100);
  if (headerLength > clusterSizeBytes || (version === 3 && headerLength < 104)) {
    throw refuse(`header length ${headerLength}`);
  }

  const nameOffset = Number(data.readBigUInt64BE(8));
  const nameLength = data.readUInt32BE(16);
  if (nameOffset > clusterSizeBytes) throw refuse("its backing file's name lies outside the first cluster");
  let backingName: string | undefined;
  if (nameOffset !== 0 && nameLength !== 0) {
    if (nameLength > maxBackingNameBytes || nameOffset + nameLength > Math.min(clusterSizeBytes, data.length)) {
      throw refuse("its backing file's name is too long");
    }
    backingName = decodeText(data.subarray(nameOffset, nameOffset + nameLength));
    if (backingName === undefined) throw refuse("its backing file's name is not UTF-8 text");
  }

  const end = Math.min(nameOffset === 0 ? clusterSizeBytes : nameOffset, data.length);
  const storedFormat = findExtension(data, headerLength, end, backingFormatExtension);
  if (storedFormat === "malformed") throw refuse("its header extensions are malformed");
  const backingFormat = storedFormat === undefined ? undefined : decodeText(storedFormat);

  const incompatible = version === 2 ? 0n : data.readBigUInt64BE(72);
  return {
    version,
    virtualSizeBytes,
    clusterSizeBytes,
    ...(backingName === undefined ? {} : { backingName }),
    ...(backingFormat === undefined || backingFormat === "" ? {} : { backingFormat }),
    encrypted: data.readUInt32BE(32) !== 0,
    corrupt: (incompatible & 2n) !== 0n,
    dataFile: (incompatible & 4n) !== 0n,
    extendedL2: (incompatible & 16n) !== 0n,
    unknownFeatures: (incompatible & ~knownIncompatibleBits) !== 0n,
  };
}

/** The data of the last extension of this type, as QEMU lets a later one win. */
function findExtension(data: Buffer, start: number, end: number, wanted: number): Buffer | undefined | "malformed" {
  let found: Buffer | undefined;
  for (let offset = start; offset + 8 <= end;) {
    const type = data.readUInt32BE(offset);
    const length = data.readUInt32BE(offset + 4);
    if (type === 0) break;
    if (length > end - offset - 8) return "malformed";
    if (type === wanted) found = data.subarray(offset + 8, offset + 8 + length);
    offset += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

function decodeText(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return text.includes("\0") ? undefined : text;
  } catch {
    return undefined;
  }
}

async function readStart(file: FileHandle, lengthBytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(lengthBytes);
  let filled = 0;
  while (filled < lengthBytes) {
    const { bytesRead } = await file.read(buffer, filled, lengthBytes - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
