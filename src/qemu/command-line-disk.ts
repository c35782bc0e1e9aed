/** Disks on QEMU's command line: every layer of a chain as a node of its own, so that QEMU probes nothing. */
import { QmError } from "../base/errors.ts";
import type { Disk } from "../model/domain.ts";
import type { ImageChain, ImageRef } from "../model/image.ts";
import { describeNetworkOptions } from "../model/network-options.ts";
import { nameNodes } from "./node-names.ts";

interface CacheFlags {
  readonly direct: boolean;
  readonly noFlush: boolean;
  /** Whether the guest sees a volatile write cache, and so sends flushes. */
  readonly writeCache: boolean;
}

const cacheFlags: Record<NonNullable<Disk["cache"]>, CacheFlags> = {
  none: { direct: true, noFlush: false, writeCache: true },
  writeback: { direct: false, noFlush: false, writeCache: true },
  writethrough: { direct: false, noFlush: false, writeCache: false },
  directsync: { direct: true, noFlush: false, writeCache: false },
  unsafe: { direct: false, noFlush: true, writeCache: true },
};

/**
 * Options of `-blockdev` for all nodes of a disk, deepest layer first, as QEMU needs them. Empty for a cdrom without medium.
 * The layers below the active one are read-only, but their files open for writing when a commit asks for it (`auto-read-only`).
 * Throws `QM_CHAIN_BROKEN` when `chain` cannot be the disk's chain.
 */
export function describeDiskNodes(disk: Disk, chain: ImageChain | undefined): object[] {
  if (disk.source === undefined) return [];
  const layers = checkChain(disk, disk.source, chain);
  const cache = describeCache(disk);
  return layers
    .map((image, layer) => {
      const { node, fileNode } = nameNodes(disk.target, layer);
      const below = layers[layer + 1] === undefined ? null : nameNodes(disk.target, layer + 1).node;
      const file = {
        ...describeImage(image),
        "node-name": fileNode,
        "auto-read-only": true,
        discard: "unmap",
        ...cache,
        ...(disk.io === undefined || image.type === "network" ? {} : { aio: disk.io }),
      };
      const format = {
        driver: image.format,
        "node-name": node,
        "read-only": layer > 0 || isReadOnly(disk),
        ...cache,
        ...(layer > 0 ? {} : describeUnmap(disk)),
        file: fileNode,
        ...(image.format === "raw" ? {} : { backing: below }),
      };
      return [file, format];
    })
    .reverse()
    .flat();
}

function describeImage({ type, path, network }: ImageRef): object {
  if (network !== undefined) return describeNetworkOptions(network);
  return { driver: type === "block" ? "host_device" : "file", filename: path };
}

/** Options of `-device` for the disk itself. Its id is the target: QOM path `/machine/peripheral/vda`. */
export function describeDiskDevice(disk: Disk, place: object, bootIndex: number | undefined): object {
  return {
    driver: chooseDriver(disk),
    id: disk.target,
    ...place,
    ...(disk.source === undefined ? {} : { drive: nameNodes(disk.target, 0).node }),
    ...(disk.device === "cdrom" ? {} : { "write-cache": flagsOf(disk).writeCache ? "on" : "off" }),
    ...(disk.serial === undefined ? {} : { serial: disk.serial }),
    ...(bootIndex === undefined ? {} : { bootindex: bootIndex }),
  };
}

function chooseDriver(disk: Disk): string {
  if (disk.bus === "virtio") {
    if (disk.device === "cdrom") {
      throw new QmError("QM_INVALID", { reason: `disk '${disk.target}': a cdrom cannot be on the virtio bus` });
    }
    return "virtio-blk-pci";
  }
  return `${disk.bus === "scsi" ? "scsi" : "ide"}-${disk.device === "cdrom" ? "cd" : "hd"}`;
}

function checkChain(disk: Disk, source: ImageRef, chain: ImageChain | undefined): readonly ImageRef[] {
  const fail = (path: string, reason: string): never => {
    throw new QmError("QM_CHAIN_BROKEN", { disk: disk.target, path, reason });
  };
  // A raw image has no backing file; of any other format only its header tells, and that is for the caller to read.
  if (chain === undefined)
    return source.format === "raw" ? [source] : fail(source.path, "its backing chain is not known");
  const active = chain[0];
  if (active.path !== source.path || active.format !== source.format || active.type !== source.type) {
    fail(active.path, `the disk's source is ${source.path} (${source.format})`);
  }
  const raw = chain.slice(0, -1).find((image) => image.format === "raw");
  return raw === undefined ? chain : fail(raw.path, "a raw image cannot have a backing file");
}

function isReadOnly(disk: Disk): boolean {
  return disk.readonly || disk.device === "cdrom";
}

function flagsOf(disk: Disk): CacheFlags {
  return cacheFlags[disk.cache ?? "writeback"];
}

function describeCache(disk: Disk): object {
  if (disk.cache === undefined) return {};
  const { direct, noFlush } = flagsOf(disk);
  return { cache: { direct, "no-flush": noFlush } };
}

function describeUnmap(disk: Disk): object {
  // QEMU refuses `detect-zeroes: unmap` on a node that ignores discards: libvirt takes it as `on` then.
  const detectZeroes = disk.detectZeroes === "unmap" && disk.discard !== "unmap" ? "on" : disk.detectZeroes;
  return {
    ...(disk.discard === undefined ? {} : { discard: disk.discard }),
    ...(detectZeroes === undefined ? {} : { "detect-zeroes": detectZeroes }),
  };
}
