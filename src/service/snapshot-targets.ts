/** The files of a snapshot that is to be taken: what is there already, and what it may be used for. */
import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { QmError } from "../base/errors.ts";
import { withBacking, type DiskInput } from "../engine/plans/plan-parts.ts";
import type { CacheMode, StoragePlan } from "../engine/steps/storage-plan.ts";
import { readChain, resolveBackingPath } from "../image/chain.ts";
import { assertUsableTarget } from "../image/files.ts";
import { readImageInfo } from "../image/info.ts";
import { diskFormats, type ImageRef } from "../model/image.ts";
import type { ExternalDisk } from "../model/snapshot-align.ts";
import type { SelectedDisk } from "./live-disks.ts";

/** Returns the paths that exist already: reused images, empty files, block devices. No two may be one file by two names. */
export async function checkTargets(disks: readonly ExternalDisk[], reuseExternal: boolean): Promise<Set<string>> {
  const existing = new Set<string>();
  const users = new Map<string, string>();
  for (const { target, overlay, mirror } of disks) {
    for (const { path } of mirror === undefined ? [overlay] : [overlay, mirror]) {
      const state = await assertUsableTarget(target, path, { reuseExternal });
      if (state !== "missing") existing.add(path);
      const real = state === "missing" ? join(await realpath(dirname(path)), basename(path)) : await realpath(path);
      const user = users.get(real);
      if (user !== undefined) throw new QmError("QM_SAME_FILE", { disk: target, path, user });
      users.set(real, `disk '${target}' as ${path}`);
    }
  }
  return existing;
}

export function cacheOf(guest: SelectedDisk): CacheMode {
  const { cache, detectZeroes } = guest.layers[0];
  return { ...cache, detectZeroes, discard: guest.definition.discard ?? "ignore" };
}

export async function toDiskInput(guest: SelectedDisk, aligned: ExternalDisk, reuse: boolean): Promise<DiskInput> {
  const { target, device, qdev, sizeBytes, layers } = guest;
  const common = { target, device, qdev, sizeBytes, layers, cache: cacheOf(guest), overlay: aligned.overlay };
  if (reuse) {
    const named = await readNamedBacking(aligned.overlay, guest);
    if (named?.path !== aligned.base.path) throw wrongBacking(target, aligned.overlay, aligned.base, named);
  }
  if (aligned.mirror === undefined) return common;
  const named = reuse ? await readNamedBacking(aligned.mirror, guest) : aligned.base;
  if (named === undefined) throw wrongBacking(target, aligned.mirror, aligned.base, named);
  // A reused mirror that names another image than the base wants to end up on that: the user is copying it.
  return { ...common, mirror: aligned.mirror, ...(named.path === aligned.base.path ? {} : { mirrorBacking: [named] }) };
}

/** What a reused image's header names as its backing file. It must be of the disk's size. */
async function readNamedBacking(image: ImageRef, guest: SelectedDisk): Promise<ImageRef | undefined> {
  const { header, virtualSizeBytes } = await readImageInfo(image, { disk: guest.target });
  if (virtualSizeBytes !== guest.sizeBytes) {
    const reason = `its size is ${virtualSizeBytes} bytes, the disk has ${guest.sizeBytes}`;
    throw new QmError("QM_IMAGE_FORMAT", {
      disk: guest.target,
      path: image.path,
      format: "an overlay of the disk",
      reason,
    });
  }
  const format = diskFormats.find((known) => known === header?.backingFormat);
  if (header?.backingName === undefined || format === undefined) return undefined;
  return { type: "file", path: await resolveBackingPath(image.path, header.backingName), format };
}

function wrongBacking(disk: string, image: ImageRef, base: ImageRef, named: ImageRef | undefined): QmError {
  const reason = `its backing file is ${named?.path ?? "not named"}, not ${base.path}`;
  return new QmError("QM_CHAIN_BROKEN", { disk, path: image.path, reason });
}

/** Before a pivot every chain below a mirror must be complete; a user who copied it may have made more layers than one. */
export async function withReadBacking(plan: StoragePlan): Promise<StoragePlan> {
  const disks = await Promise.all(
    plan.disks.map(async (disk) => {
      if (disk.mirror === undefined || disk.mirror.sharesBase) return disk;
      const [, first, ...rest] = await readChain(disk.mirror.image, { disk: disk.target });
      if (first === undefined)
        throw wrongBacking(disk.target, disk.mirror.image, disk.mirror.backing[0].image, undefined);
      return { ...disk, mirror: withBacking(disk.mirror, [first, ...rest]) };
    }),
  );
  return { ...plan, disks };
}
