/** The new files of a snapshot: names for those that the request leaves open, and that no two are one. */
import { posix } from "node:path";
import { QmError } from "../base/errors.ts";
import type { DomainDefinition } from "./domain.ts";
import type { ImageRef } from "./image.ts";
import { checkPath } from "./names.ts";
import type { SnapshotDiskRequest } from "./snapshot.ts";

export interface NewFiles {
  readonly target: string;
  readonly overlay: ImageRef;
  readonly mirror?: ImageRef;
}

/** The overlay that is asked for, or one beside `base`: `/srv/web.qcow2` becomes `/srv/web.NAME`. */
export function chooseOverlay(
  base: ImageRef,
  request: SnapshotDiskRequest | undefined,
  snapshotName: string,
  where: string,
  reuseExternal: boolean,
): ImageRef {
  if (request?.source !== undefined) {
    const { type, path } = request.source;
    return { type, path: checkPath(path, `overlay of ${where}`), format: "qcow2" };
  }
  const reason =
    base.type !== "file"
      ? `its image is ${base.type === "block" ? "a block device" : "no file"}, so the overlay's <source> must be given`
      : reuseExternal
        ? "to reuse an existing overlay, its <source> must be given"
        : undefined;
  if (reason !== undefined) throw new QmError("QM_XML_INVALID", { element: where, reason });
  return {
    type: "file",
    path: checkPath(overlayPath(base.path, snapshotName), `overlay of ${where}`),
    format: "qcow2",
  };
}

/** `directory/DOMAIN.NAME.mem`, or beside the first writable disk that is a file: `/srv/web.qcow2` gives `/srv/web.NAME.mem`. */
export function chooseMemoryFile(
  domain: DomainDefinition,
  snapshotName: string,
  directory: string | undefined,
): string {
  const beside = domain.disks.find(
    ({ device, readonly, source }) => device === "disk" && !readonly && source?.type === "file",
  )?.source;
  const path =
    directory !== undefined
      ? posix.join(directory, `${domain.name}.${snapshotName}`)
      : beside === undefined
        ? undefined
        : overlayPath(beside.path, snapshotName);
  if (path === undefined) {
    const reason = "must be given: no disk of the domain is a file that it could be named after";
    throw new QmError("QM_XML_INVALID", { element: "memory@file", reason });
  }
  return checkPath(`${path}.mem`, "memory@file");
}

function overlayPath(basePath: string, snapshotName: string): string {
  const withoutSuffix = basePath.replace(/\.[^./]*$/, "");
  return `${withoutSuffix}.${snapshotName}`;
}

/** Every new file must differ from every other new one and from all that the domain uses. */
export function checkFilesDiffer(
  domain: DomainDefinition,
  memoryFile: string | undefined,
  disks: readonly NewFiles[],
): void {
  const users = new Map<string, string>();
  for (const { target, source, backing, mirror } of domain.disks) {
    for (const image of [source, ...(backing ?? [])]) {
      if (image !== undefined) users.set(image.path, `disk '${target}'`);
    }
    if (mirror !== undefined) users.set(mirror.target.path, `the mirror of disk '${target}'`);
  }
  if (memoryFile !== undefined) {
    const user = users.get(memoryFile);
    if (user !== undefined) {
      throw new QmError("QM_XML_INVALID", {
        element: "memory@file",
        reason: `${memoryFile} is already used by ${user}`,
      });
    }
    users.set(memoryFile, "the snapshot's memory");
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
