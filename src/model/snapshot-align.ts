import { posix } from "node:path";
import { QmError } from "../base/errors.ts";
import type { Disk, DomainDefinition } from "./domain.ts";
import type { ImageRef } from "./image.ts";
import { checkPath, checkSnapshotName } from "./names.ts";
import type { SnapshotDiskRequest, SnapshotRequest } from "./snapshot.ts";

/** A request with every choice made: what the engine carries out. */
export interface AlignedSnapshot {
  readonly name: string;
  readonly description?: string;
  /** Seconds since 1970. */
  readonly creationTime: number;
  /** External disks only, in the domain's order. Never empty. */
  readonly disks: readonly AlignedDisk[];
}

export interface AlignedDisk {
  readonly target: string;
  /** The active image of today, which becomes the snapshot's data. */
  readonly base: ImageRef;
  readonly overlay: ImageRef;
  readonly mirror?: ImageRef;
}

export interface AlignOptions {
  /** A `Date`, or milliseconds since 1970. */
  readonly now: Date | number;
  /** Overlays exist already: then each must be named, for an existing file is never taken on a guess. */
  readonly reuseExternal: boolean;
}

/**
 * Fits a snapshot request to a domain, as libvirt's `virDomainSnapshotAlignDisks` does. Pure: no file is looked at.
 *
 * - No name: the seconds since 1970.
 * - Every writable disk takes part, unless the request says `snapshot='no'`. Disks are named by target, or by image path.
 * - No overlay path: the image's path with what follows the last dot of its last part replaced by the snapshot's name.
 *
 * `domain` is the live definition: its disks' `backing` and `mirror` count as files in use. Two names of one file (links) are not
 * noticed here.
 *
 * Errors: `QM_NO_DISK`; `QM_INVALID` (a disk named twice, one that cannot be snapshot, none left); `QM_XML_INVALID` (names,
 * paths, a mirror on `snapshot='no'`, an overlay path that cannot be made up); `QM_SAME_FILE`.
 */
export function alignSnapshot(
  domain: DomainDefinition,
  request: SnapshotRequest,
  options: AlignOptions,
): AlignedSnapshot {
  const creationTime = Math.floor(Number(options.now) / 1000);
  const name = checkSnapshotName(request.name ?? String(creationTime), "name");
  const asked = matchDisks(domain, request.disks);
  const disks = domain.disks.flatMap((disk) => alignDisk(disk, asked.get(disk.target), name, options) ?? []);
  if (disks.length === 0)
    throw new QmError("QM_INVALID", { reason: `domain '${domain.name}' has no disk to snapshot` });
  checkFilesDiffer(domain, disks);
  return {
    name,
    ...(request.description === undefined ? {} : { description: request.description }),
    creationTime,
    disks,
  };
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
      domain.disks.find(({ source }) => source !== undefined && source.path === posix.normalize(request.name));
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
  disk: Disk,
  request: SnapshotDiskRequest | undefined,
  snapshotName: string,
  options: AlignOptions,
): AlignedDisk | undefined {
  const { target, source: base } = disk;
  const where = `disk '${target}'`;
  const wantsFile = request?.source !== undefined || request?.mirror !== undefined;
  if (request?.snapshot === "no") {
    if (!wantsFile) return undefined;
    const what = request.mirror === undefined ? "source" : "mirror";
    throw new QmError("QM_XML_INVALID", { element: where, reason: `a <${what}> needs snapshot='external'` });
  }
  if (disk.device !== "disk" || disk.readonly || base === undefined) {
    if (request?.snapshot === undefined && !wantsFile) return undefined;
    throw new QmError("QM_INVALID", {
      reason: `${where} is a cdrom or read-only and cannot be snapshot`,
      disk: target,
    });
  }
  const { mirror } = request ?? {};
  return {
    target,
    base,
    overlay: overlayOf(base, request, snapshotName, where, options),
    ...(mirror === undefined
      ? {}
      : {
          mirror: { type: mirror.type, path: checkPath(mirror.path, `mirror of ${where}`), format: "qcow2" as const },
        }),
  };
}

function overlayOf(
  base: ImageRef,
  request: SnapshotDiskRequest | undefined,
  snapshotName: string,
  where: string,
  options: AlignOptions,
): ImageRef {
  if (request?.source !== undefined) {
    const { type, path } = request.source;
    return { type, path: checkPath(path, `overlay of ${where}`), format: "qcow2" };
  }
  const reason =
    base.type === "block"
      ? "its image is a block device, so the overlay's <source> must be given"
      : options.reuseExternal
        ? "to reuse an existing overlay, its <source> must be given"
        : undefined;
  if (reason !== undefined) throw new QmError("QM_XML_INVALID", { element: where, reason });
  return {
    type: "file",
    path: checkPath(overlayPath(base.path, snapshotName), `overlay of ${where}`),
    format: "qcow2",
  };
}

function overlayPath(basePath: string, snapshotName: string): string {
  const withoutSuffix = basePath.replace(/\.[^./]*$/, "");
  return `${withoutSuffix}.${snapshotName}`;
}

/** Every new file must differ from every other new one and from all that the domain uses. */
function checkFilesDiffer(domain: DomainDefinition, disks: readonly AlignedDisk[]): void {
  const users = new Map<string, string>();
  for (const { target, source, backing, mirror } of domain.disks) {
    for (const image of [source, ...(backing ?? [])]) {
      if (image !== undefined) users.set(image.path, `disk '${target}'`);
    }
    if (mirror !== undefined) users.set(mirror.target.path, `the mirror of disk '${target}'`);
  }
  const claim = (disk: string, path: string, claimant: string): void => {
    const user = users.get(path);
    if (user !== undefined) throw new QmError("QM_SAME_FILE", { disk, path, user });
    users.set(path, claimant);
  };
  for (const { target, overlay } of disks) claim(target, overlay.path, `the overlay of disk '${target}'`);
  for (const { target, mirror } of disks) {
    if (mirror !== undefined) claim(target, mirror.path, `the mirror of disk '${target}'`);
  }
}
