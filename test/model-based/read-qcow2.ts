/** What an image of 64 KiB clusters shows, read without QEMU: no lock, no process. Apart from src/image, so that one can prove the other. */
import { closeSync, openSync, readSync } from "node:fs";
import { dirname, resolve } from "node:path";

export const clusterBytes = 65_536;

interface Tables {
  readonly l1Offset: number;
  readonly l1Entries: number;
}

/** The image and what it stands on, the image first. */
export function readChainPaths(path: string): string[] {
  const chain: string[] = [];
  for (let at: string | undefined = path; at !== undefined; at = withFile(at, ({ backing }) => backing)) {
    if (chain.includes(at)) throw new Error(`${at} stands on itself`);
    chain.push(at);
  }
  return chain;
}

export function readTags(path: string): string[] {
  return withFile(path, ({ tags }) => [...tags.keys()]);
}

/** The byte of which each cluster is full; of the internal snapshot `tag`, if it is given. A cluster of several bytes is an error. */
export function readPatterns(path: string, tag?: string): number[] {
  const found: (number | undefined)[] = [];
  let sizeBytes: number | undefined;
  readChainPaths(path).forEach((at, depth) => {
    withFile(at, ({ read, active, tags, sizeBytes: own }) => {
      sizeBytes ??= own;
      const tables = depth === 0 && tag !== undefined ? tags.get(tag) : active;
      if (tables === undefined) throw new Error(`${at} has no internal snapshot '${tag ?? ""}'`);
      for (let cluster = 0; cluster * clusterBytes < Math.min(own, sizeBytes); cluster++) {
        found[cluster] ??= readCluster(read, tables, cluster, at);
      }
    });
  });
  return Array.from({ length: (sizeBytes ?? 0) / clusterBytes }, (_, cluster) => found[cluster] ?? 0);
}

type Read = (offset: number, bytes: number) => Buffer;

interface Qcow2 {
  readonly read: Read;
  readonly sizeBytes: number;
  readonly backing: string | undefined;
  readonly active: Tables;
  readonly tags: ReadonlyMap<string, Tables>;
}

function withFile<T>(path: string, work: (image: Qcow2) => T): T {
  const file = openSync(path, "r");
  try {
    const read: Read = (offset, bytes) => {
      const buffer = Buffer.alloc(bytes);
      readSync(file, buffer, 0, bytes, offset);
      return buffer;
    };
    const header = read(0, 104);
    if (header.toString("latin1", 0, 4) !== "QFI\xfb" || header.readUInt32BE(20) !== 16) {
      throw new Error(`${path} is no qcow2 image of 64 KiB clusters`);
    }
    const [nameOffset, nameBytes] = [Number(header.readBigUInt64BE(8)), header.readUInt32BE(16)];
    const name = nameBytes === 0 ? undefined : read(nameOffset, nameBytes).toString("utf8");
    const tags = new Map<string, Tables>();
    let at = Number(header.readBigUInt64BE(64));
    for (let left = header.readUInt32BE(60); left > 0; left--) {
      const entry = read(at, 40);
      const [idBytes, tagBytes, extraBytes] = [entry.readUInt16BE(12), entry.readUInt16BE(14), entry.readUInt32BE(36)];
      const tag = read(at + 40 + extraBytes + idBytes, tagBytes).toString("utf8");
      tags.set(tag, { l1Offset: Number(entry.readBigUInt64BE(0)), l1Entries: entry.readUInt32BE(8) });
      at += Math.ceil((40 + extraBytes + idBytes + tagBytes) / 8) * 8;
    }
    return work({
      read,
      sizeBytes: Number(header.readBigUInt64BE(24)),
      backing: name === undefined ? undefined : resolve(dirname(path), name),
      active: { l1Offset: Number(header.readBigUInt64BE(40)), l1Entries: header.readUInt32BE(36) },
      tags,
    });
  } finally {
    closeSync(file);
  }
}

const offsetMask = 0x00ff_ffff_ffff_fe00n;
const l2Entries = clusterBytes / 8;

/** Undefined: the image has nothing of its own there. */
function readCluster(read: Read, { l1Offset, l1Entries }: Tables, cluster: number, path: string): number | undefined {
  const l1Index = Math.floor(cluster / l2Entries);
  if (l1Index >= l1Entries) return undefined;
  const l2Offset = Number(read(l1Offset + l1Index * 8, 8).readBigUInt64BE() & offsetMask);
  if (l2Offset === 0) return undefined;
  const entry = read(l2Offset + (cluster % l2Entries) * 8, 8).readBigUInt64BE();
  if ((entry & (1n << 62n)) !== 0n) throw new Error(`${path}: cluster ${cluster} is compressed`);
  if ((entry & 1n) !== 0n) return 0;
  const offset = Number(entry & offsetMask);
  if (offset === 0) return undefined;
  const data = read(offset, clusterBytes);
  const pattern = data[0] ?? 0;
  if (!data.equals(Buffer.alloc(clusterBytes, pattern))) throw new Error(`${path}: cluster ${cluster} is mixed`);
  return pattern;
}
