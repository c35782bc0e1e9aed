import { posix } from "node:path";
import { QmError } from "../base/errors.ts";
import type { Disk, DomainDefinition } from "./domain.ts";
import type { ImageRef } from "./image.ts";
import { checkPath, checkSnapshotName } from "./names.ts";
import { checkFilesDiffer, chooseMemoryFile, chooseOverlay } from "./snapshot-files.ts";
import { chooseKinds, type KindOptions } from "./snapshot-kinds.ts";
import type {
  DiskSnapshotKind,
  SnapshotDiskRequest,
  SnapshotMemory,
  SnapshotRequest,
  SnapshotState,
} from "./snapshot.ts";

/** A request with every choice made: what the engine carries out. */
export interface AlignedSnapshot {
  readonly name: string;
  readonly description?: string;
  /** Seconds since 1970. */
  readonly creationTime: number;
  readonly state: SnapshotState;
  /** With its `file` wherever it is external. */
  readonly memory: SnapshotMemory;
  /** Every disk of the domain, in its order. */
  readonly disks: readonly AlignedDisk[];
}

export type AlignedDisk = ExternalDisk | InternalDisk | UntouchedDisk;

export interface ExternalDisk {
  readonly target: string;
  readonly snapshot: "external";
  /** The active image of today, which becomes the snapshot's data. */
  readonly base: ImageRef;
  readonly overlay: ImageRef;
  readonly mirror?: ImageRef;
}

export interface InternalDisk {
  readonly target: string;
  readonly snapshot: "internal";
  /** The active image, which keeps the snapshot's data inside. */
  readonly base: ImageRef;
}

export interface UntouchedDisk {
  readonly target: string;
  readonly snapshot: "no" | "manual";
}

export interface AlignOptions extends KindOptions {
  /** A `Date`, or milliseconds since 1970. */
  readonly now: Date | number;
  /** Overlays exist already: then each must be named, for an existing file is never taken on a guess. */
  readonly reuseExternal: boolean;
  /** Where a memory file is made that the request does not name. Default: beside the first disk's image. */
  readonly memoryDirectory?: string;
}

/**
 * Fits a snapshot request to a domain, as libvirt's `virDomainSnapshotAlignDisks` does. Pure: no file is looked at.
 *
 * - No name: the seconds since 1970.
 * - Every writable disk takes part, unless the request says otherwise. Disks are named by target, or by image path. An overlay, a
 *   format or a mirror makes a disk external.
 * - A running domain: with the memory, all internal or all external. Nothing said: internal, or external if any disk is. Without it,
 *   all external: `diskOnly`, `<memory snapshot='no'>`, or a mirror where nothing is said of the memory.
 * - An inactive domain: internal, or external with `diskOnly`; each disk may say otherwise.
 * - No overlay path: the image's path with what follows the last dot of its last part replaced by the snapshot's name. The memory
 *   file likewise, with `.mem` behind.
 *
 * `domain` is the live definition: its disks' `backing` and `mirror` count as files in use. Two names of one file (links) are not
 * noticed here.
 *
 * Errors: `QM_NO_DISK`; `QM_INVALID` (a disk named twice, one that cannot be snapshot, none left, kinds that do not go together, an
 * internal snapshot of a raw image); `QM_DOMAIN_NOT_RUNNING` (a mirror); `QM_XML_INVALID` (names, paths, a file for a disk that is
 * not external, a path that cannot be made up); `QM_SAME_FILE`.
 */
export function alignSnapshot(
  domain: DomainDefinition,
  request: SnapshotRequest,
  options: AlignOptions,
): AlignedSnapshot {
  const creationTime = Math.floor(Number(options.now) / 1000);
  const name = checkSnapshotName(request.name ?? String(creationTime), "name");
  const asked = matchDisks(domain, request.disks);
  const kinds = chooseKinds(domain, asked, request.memory?.snapshot, options);
  const disks = domain.disks.map((disk) =>
    alignDisk(disk, kinds.disks.get(disk.target), asked.get(disk.target), name, options.reuseExternal),
  );
  const memory = alignMemory(domain, request.memory?.file, kinds.memory, name, options.memoryDirectory);
  checkFilesDiffer(domain, memory.file, onlyExternal(disks));
  return {
    name,
    ...(request.description === undefined ? {} : { description: request.description }),
    creationTime,
    state: kinds.state,
    memory,
    disks,
  };
}

/** The disks that get an overlay, in the domain's order. */
export function externalDisks({ disks }: AlignedSnapshot): ExternalDisk[] {
  return onlyExternal(disks);
}

function onlyExternal(disks: readonly AlignedDisk[]): ExternalDisk[] {
  return disks.filter((disk) => disk.snapshot === "external");
}

/** The requests by target. */
function matchDisks(
  domain: DomainDefinition,
  requests: readonly SnapshotDiskRequest[],
): Map<string, SnapshotDiskRequest> {
  const matched = new Map<string, SnapshotDiskRequest>();
  for (const request of requests) {
    const disk =
      domain.disks.find(({ target }) => target === request.name) ??
      domain.disks.find(
        ({ source }) => source?.path === request.name || source?.path === posix.normalize(request.name),
      );
    if (disk === undefined) {
      const disks = domain.disks.map(({ target }) => target).join(", ");
      throw new QmError("QM_NO_DISK", { domain: domain.name, disk: request.name, disks });
    }
    if (matched.has(disk.target)) {
      throw new QmError("QM_INVALID", { reason: `disk '${disk.target}' is named twice`, disk: disk.target });
    }
    matched.set(disk.target, request);
  }
  return matched;
}

function alignDisk(
  { target, source: base }: Disk,
  kind: DiskSnapshotKind | undefined,
  request: SnapshotDiskRequest | undefined,
  snapshotName: string,
  reuseExternal: boolean,
): AlignedDisk {
  if (base === undefined || kind === undefined || kind === "no") return { target, snapshot: "no" };
  if (kind === "manual") return { target, snapshot: "manual" };
  if (kind === "internal") return { target, snapshot: "internal", base };
  const where = `disk '${target}'`;
  const overlay = chooseOverlay(base, request, snapshotName, where, reuseExternal);
  const mirror = request?.mirror;
  if (mirror === undefined) return { target, snapshot: "external", base, overlay };
  const path = checkPath(mirror.path, `mirror of ${where}`);
  return { target, snapshot: "external", base, overlay, mirror: { type: mirror.type, path, format: "qcow2" } };
}

function alignMemory(
  domain: DomainDefinition,
  file: string | undefined,
  kind: SnapshotMemory["snapshot"],
  snapshotName: string,
  directory: string | undefined,
): SnapshotMemory {
  if (kind !== "external") return { snapshot: kind };
  return {
    snapshot: "external",
    file: file === undefined ? chooseMemoryFile(domain, snapshotName, directory) : checkPath(file, "memory@file"),
  };
}
