/** Internal snapshots of a qcow2 image that nobody has open: `qemu-img snapshot`, the backing file not opened. */
import { QmError } from "../base/errors.ts";
import type { ImageChain, ImageRef } from "../model/image.ts";
import { syncFile } from "./files.ts";
import { chainJson, imageJson } from "./image-json.ts";
import { readImageInfo } from "./info.ts";
import { followProgress, type ProgressHandler } from "./progress.ts";
import { listInternalSnapshots, type InternalSnapshot } from "./qcow2-tables.ts";
import { runQemuImg } from "./run-qemu-img.ts";

export { allocatedDataBytes, listInternalSnapshots, type InternalSnapshot } from "./qcow2-tables.ts";

export interface InternalSnapshotOptions {
  readonly disk: string;
  readonly image: ImageRef;
  readonly tag: string;
  readonly signal?: AbortSignal;
}

/**
 * Takes an internal snapshot. One of this name that is there already counts as the one that an earlier try took: the caller knows
 * from before the first try that there was none. On success it is on stable storage.
 *
 * Errors of these functions: `QM_SNAPSHOT_TREE` (several have this name, or none where one is needed), `QM_IMAGE_TOOL` (a QEMU has
 * the image open; no space), `QM_CANCELLED`, and those of {@link listInternalSnapshots}. A call that was interrupted may be repeated.
 */
export async function createInternal(options: InternalSnapshotOptions): Promise<void> {
  if ((await findSnapshot(options)) === undefined) await runSnapshot(["-c", options.tag], options);
  await syncFile(options.image.path);
}

/** Makes the image show what the snapshot has, size included. What it showed before is gone. Errors: {@link createInternal}. */
export async function applyInternal(options: InternalSnapshotOptions): Promise<void> {
  // By id: the tag of one may be the id of another, and ids win.
  await runSnapshot(["-a", (await requireSnapshot(options)).id], options);
  await syncFile(options.image.path);
}

/** Deletes the snapshot; no error when there is none. Errors: {@link createInternal}. */
export async function deleteInternal(options: InternalSnapshotOptions): Promise<void> {
  if ((await findSnapshot(options)) !== undefined) await runSnapshot(["-d", options.tag], options);
  await syncFile(options.image.path);
}

export interface ExtractInternalOptions {
  readonly disk: string;
  /** The image with the snapshot, and what is below it now: the snapshot shows that too. */
  readonly chain: ImageChain;
  readonly tag: string;
  /** Written anew, and stands alone. */
  readonly to: ImageRef;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressHandler;
}

/**
 * Copies what an internal snapshot shows into an image of its own (`qemu-img convert -l`). On failure `to` may hold anything.
 * Errors: as {@link createInternal}; `QM_UNSUPPORTED` where the image has been resized since: QEMU would cut the copy or pad it.
 */
export async function extractInternal(options: ExtractInternalOptions): Promise<void> {
  const { disk, chain, tag, to, signal, onProgress } = options;
  const image = chain[0];
  const { id, virtualSizeBytes } = await requireSnapshot({ disk, image, tag });
  const now = await readImageInfo(image, { disk });
  if (now.virtualSizeBytes !== virtualSizeBytes) {
    const detail = `: ${image.path} has ${now.virtualSizeBytes} bytes now and had ${virtualSizeBytes}`;
    throw new QmError("QM_UNSUPPORTED", { what: "extracting a snapshot from a resized image", detail, disk });
  }
  const args = ["convert", "-p", "-t", "writeback", "-l", `snapshot.id=${id}`, "-O", to.format];
  await runQemuImg([...args, chainJson(chain), to.path], {
    path: image.path,
    onStdout: followProgress(virtualSizeBytes, onProgress),
    ...(signal === undefined ? {} : { signal }),
  });
  await syncFile(to.path);
}

async function findSnapshot({ disk, image, tag }: InternalSnapshotOptions): Promise<InternalSnapshot | undefined> {
  const [found, ...more] = (await listInternalSnapshots(image, { disk })).filter(({ name }) => name === tag);
  if (more.length === 0) return found;
  const reason = `${image.path} has ${more.length + 1} internal snapshots of this name`;
  throw new QmError("QM_SNAPSHOT_TREE", { snapshot: tag, reason, disk });
}

async function requireSnapshot(options: InternalSnapshotOptions): Promise<InternalSnapshot> {
  const found = await findSnapshot(options);
  if (found !== undefined) return found;
  const { disk, image, tag } = options;
  const reason = `${image.path} has no internal snapshot of this name`;
  throw new QmError("QM_SNAPSHOT_TREE", { snapshot: tag, reason, disk });
}

async function runSnapshot(action: readonly string[], { image, signal }: InternalSnapshotOptions): Promise<void> {
  await runQemuImg(["snapshot", "-q", ...action, imageJson(image)], {
    path: image.path,
    ...(signal === undefined ? {} : { signal }),
  });
}
