/** `virsh blockcopy`: everything is checked and named here, before the first act. */
import { realpath } from "node:fs/promises";
import { dirname } from "node:path";
import type { BlockCopyBody } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import { planCopy, type CopyInput } from "../engine/plans/plan-block.ts";
import { readChain } from "../image/chain.ts";
import { assertUsableTarget, type TargetState } from "../image/files.ts";
import { readImageInfo } from "../image/info.ts";
import { assertSpace } from "../image/space.ts";
import type { ImageRef } from "../model/image.ts";
import type { DiskCopy } from "../qemu/block-copy.ts";
import { findDisk, selectRunning } from "./block-disk.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import { assertNotBusy, assertNotCopied, assertNotMirrored } from "./guards.ts";
import { surveyLayers } from "./layer-survey.ts";
import type { SelectedDisk } from "./live-disks.ts";
import { newOperationId } from "./operation-id.ts";
import type { RunningOperation } from "./running-operation.ts";
import { cacheOf } from "./snapshot-targets.ts";

/**
 * The operation succeeds when the copy is ready; from then on it follows the disk until `endBlockJob`. One that fails or is cancelled
 * leaves nothing behind.
 *
 * `QM_INVALID`, `QM_FILE_EXISTS`, `QM_NO_FILE`, `QM_NO_DIRECTORY`, `QM_SAME_FILE` (an image of this domain or another), `QM_IMAGE_FORMAT` (a
 * reused image or a block device does not fit), `QM_NO_SPACE`, `QM_DOMAIN_NOT_RUNNING`, and the guards' errors: nothing is changed.
 */
export async function startBlockCopy(
  deps: LifecycleDeps,
  entry: DomainEntry,
  diskName: string,
  request: BlockCopyBody,
): Promise<RunningOperation> {
  const { target: disk } = findDisk(entry, diskName);
  assertNotBusy(entry);
  assertNotMirrored(deps.registry, entry, "copying a disk");
  assertNotCopied(entry, "another copy", disk);
  const guest = await selectRunning(entry, disk);
  const input = await planInput(entry, guest, request);
  await assertUnused(deps, entry, input);
  return deps.operations.start(entry, "block-copy", planCopy(input));
}

async function planInput(entry: DomainEntry, guest: SelectedDisk, request: BlockCopyBody): Promise<CopyInput> {
  const { target: disk, layers, sizeBytes } = guest;
  const reuse = request.reuseExternal === true;
  const state = await assertUsableTarget(disk, request.dest, { reuseExternal: reuse });
  const image: ImageRef = {
    type: state === "block" ? "block" : "file",
    path: request.dest,
    format: request.format ?? layers[0].image.format,
  };
  assertType(disk, image, state, request);
  // A disk without a backing image is its own active layer: all of it is copied then.
  const shallow = request.shallow === true && layers.length > 1;
  if (shallow && image.format !== "qcow2") {
    throw new QmError("QM_INVALID", { reason: "a shallow copy stands on a backing image: its format must be qcow2" });
  }
  const chain = reuse ? await readReused(image, guest, shallow) : [];
  if (!reuse) await assertRoom(image, guest, shallow);
  const id = newOperationId();
  const backing = shallow && !reuse ? layers[1]?.image : undefined;
  return {
    id,
    domain: { uuid: entry.uuid, name: entry.name },
    disk,
    bytesPerS: request.bytesPerS ?? 0,
    copy: nameCopy(id, guest, image, shallow, chain),
    found: reuse ? "reused" : state,
    sizeBytes,
    ...(backing === undefined ? {} : { backing }),
  };
}

function assertType(disk: string, { path, type }: ImageRef, state: TargetState, { destType }: BlockCopyBody): void {
  if (destType === undefined || destType === type) return;
  if (state === "missing") throw new QmError("QM_NO_FILE", { disk, path });
  throw new QmError("QM_INVALID", { reason: `${path} is of type '${type}', not '${destType}'` });
}

/** What a reused image stands on, nearest first. */
async function readReused(image: ImageRef, guest: SelectedDisk, shallow: boolean): Promise<readonly ImageRef[]> {
  const { target: disk, sizeBytes, layers } = guest;
  const wrong = (reason: string) =>
    new QmError("QM_IMAGE_FORMAT", { disk, path: image.path, format: "a destination for the disk", reason });
  const { virtualSizeBytes } = await readImageInfo(image, { disk });
  if (virtualSizeBytes !== sizeBytes) throw wrong(`it has ${virtualSizeBytes} bytes, the disk ${sizeBytes}`);
  const below = (await readChain(image, { disk })).slice(1);
  if (!shallow && below[0] !== undefined) throw wrong(`it stands on ${below[0].path}, and a full copy on nothing`);
  if (shallow && below[0] === undefined)
    throw wrong(`it stands on nothing, the disk on ${layers[1]?.image.path ?? ""}`);
  return below;
}

async function assertRoom(image: ImageRef, { target: disk, layers, sizeBytes }: SelectedDisk, shallow: boolean) {
  if (image.type === "block") {
    const { lengthBytes } = await readImageInfo({ ...image, format: "raw" }, { disk });
    if (image.format === "qcow2" || lengthBytes === sizeBytes) return;
    const reason = `it has ${lengthBytes} bytes, the disk ${sizeBytes}`;
    throw new QmError("QM_IMAGE_FORMAT", { disk, path: image.path, format: "as large as the disk", reason });
  }
  const copied = shallow ? layers.slice(0, 1) : layers;
  const infos = await Promise.all(copied.map((layer) => readImageInfo(layer.image, { disk })));
  const dataBytes = infos.reduce((sum, info) => sum + (info.allocatedBytes || info.lengthBytes), 0);
  await assertSpace({ directory: dirname(image.path), neededBytes: Math.min(dataBytes, sizeBytes) });
}

function nameCopy(
  id: string,
  guest: SelectedDisk,
  image: ImageRef,
  shallow: boolean,
  below: readonly ImageRef[],
): DiskCopy {
  const { target: disk, qdev, layers } = guest;
  const name = (ref: ImageRef, suffix: string) => ({
    image: ref,
    node: `qm-${id}-${suffix}`,
    fileNode: `qm-${id}-${suffix}-f`,
  });
  const shared = layers[1];
  const ownBacking =
    below[0] === undefined || below[0].path === shared?.image.path
      ? []
      : below.map((ref, index) => name(ref, `b${index}`));
  const backingNode = shallow ? (ownBacking[0]?.node ?? shared?.node) : undefined;
  const left = backingNode !== undefined && ownBacking.length === 0 ? layers.slice(0, 1) : layers;
  return {
    disk,
    qdev,
    jobId: `qm-${id}-copy`,
    source: { image: layers[0].image, node: layers[0].node },
    target: name(image, "copy"),
    sync: shallow ? "top" : "full",
    ...(backingNode === undefined ? {} : { backingNode }),
    ownBacking,
    cache: cacheOf(guest),
    sourceNodes: left.flatMap(({ node, fileNode }) => (fileNode === undefined ? [node] : [node, fileNode])),
  };
}

/** The destination is not an image of this domain, of its snapshots or of another domain, by any name. */
async function assertUnused(deps: LifecycleDeps, entry: DomainEntry, { disk, copy, found }: CopyInput): Promise<void> {
  if (found === "missing") return;
  const { path } = copy.target.image;
  const real = await realpath(path);
  const { layers, foreign } = await surveyLayers(deps, entry);
  const users = new Map([...layers.map(({ image }) => [image.path, `domain '${entry.name}'`] as const), ...foreign]);
  for (const [used, user] of users) {
    if ((await realpath(used).catch(() => used)) === real) throw new QmError("QM_SAME_FILE", { disk, path, user });
  }
}
