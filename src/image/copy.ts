/** Copies layers to other storage: see docs/internals/copying.md for why with these options. */
import { open, type FileHandle } from "node:fs/promises";
import { errorText, isQmError, QmError } from "../base/errors.ts";
import type { ImageChain, ImageRef } from "../model/image.ts";
import { chainJson, imageJson } from "./image-json.ts";
import { readImageInfo } from "./info.ts";
import { withImage } from "./open-image.ts";
import { followProgress, type ProgressHandler } from "./progress.ts";
import { runQemuImg, runTool } from "./run-qemu-img.ts";

export interface CopyOptions {
  readonly to: ImageRef;
  readonly disk: string;
  /** Bytes per second at most; absent: as fast as it goes. */
  readonly rateBytesPerS?: number;
  readonly onProgress?: ProgressHandler;
  readonly signal?: AbortSignal;
}

export interface CopyLayerOptions extends CopyOptions {
  /** A layer that no longer changes. A running QEMU may have it open. */
  readonly from: ImageRef;
}

export interface FlattenOptions extends CopyOptions {
  /** Layers that no longer change. */
  readonly chain: ImageChain;
}

/**
 * Copies one layer's file byte for byte, so that every feature of its format comes along; runs of zeros become holes. `to` must
 * exist: an empty regular file, whose owner and mode stay, or a block device that is large enough. Where the file system can
 * share blocks it does.
 *
 * Holds on success: `to` has the same bytes (on a block device, followed by what was there) and is on stable storage; its
 * header names the backing file of `from` still: see `setBacking`. On failure `to` may hold anything, and is the caller's to remove.
 *
 * Errors: `QM_FILE_EXISTS` (target not empty), `QM_SAME_FILE`, `QM_IMAGE_TOOL`, `QM_CANCELLED`, `QM_IO`, and those of `readImageInfo`.
 */
export async function copyLayer(options: CopyLayerOptions): Promise<void> {
  const { from, to, disk, onProgress } = options;
  const sourceId = await withImage({ disk, path: from.path }, async ({ identity }) => identity);
  const { lengthBytes } = await readImageInfo(from, { disk });
  await withImage({ disk, path: to.path }, async (target) => {
    if (target.identity === sourceId) throw new QmError("QM_SAME_FILE", { disk, path: to.path, user: from.path });
    if (target.type !== to.type) throw typeMismatch(to, disk);
    if (target.type === "file" && target.stats.size > 0n) throw new QmError("QM_FILE_EXISTS", { disk, path: to.path });
  });
  onProgress?.(0, lengthBytes);
  if (from.type === "block" || to.type === "block" || !(await shareBlocks(options))) {
    // QEMU's raw images are whole sectors: the excess is cut off again.
    if (to.type === "file") await withTarget(to, (file) => file.truncate(Math.ceil(lengthBytes / 512) * 512));
    const zeroed = to.type === "file" ? ["--target-is-zero"] : [];
    const names = [asBytes(from), asBytes(to)].map((image) => imageJson(image));
    await convert(["-n", ...zeroed, "-O", "raw", ...names], lengthBytes, options);
    if (to.type === "file") await withTarget(to, (file) => file.truncate(lengthBytes));
  }
  await withTarget(to, (file) => file.sync());
  onProgress?.(lengthBytes, lengthBytes);
}

/**
 * Collapses a chain into the one image `to`, of the format that `to` states. Target, failure and errors as in {@link copyLayer},
 * but a file with contents is overwritten.
 */
export async function flattenChain(options: FlattenOptions): Promise<void> {
  const { chain, to, disk, onProgress } = options;
  const { virtualSizeBytes } = await readImageInfo(chain[0], { disk });
  await withImage({ disk, path: to.path }, async ({ type }) => {
    if (type !== to.type) throw typeMismatch(to, disk);
  });
  onProgress?.(0, virtualSizeBytes);
  await convert(["-O", to.format, chainJson(chain), to.path], virtualSizeBytes, { ...options, from: chain[0] });
  await withTarget(to, (file) => file.sync());
  onProgress?.(virtualSizeBytes, virtualSizeBytes);
}

/** `from`: what an error of reading names. */
async function convert(
  args: readonly string[],
  totalBytes: number,
  { from, ...options }: CopyOptions & { readonly from: ImageRef },
): Promise<void> {
  const { to, disk, rateBytesPerS, onProgress, signal } = options;
  const rate = rateBytesPerS === undefined ? [] : ["-r", String(rateBytesPerS)];
  // -U: QEMU may hold the source writable although nothing writes to it.
  await runQemuImg(["convert", "-U", "-p", "-m", "8", "-t", "writeback", "-T", "writeback", ...rate, ...args], {
    path: to.path,
    onStdout: followProgress(totalBytes, onProgress),
    ...(signal === undefined ? {} : { signal }),
  }).catch((error: unknown) => {
    if (!isQmError(error, "QM_IMAGE_TOOL")) throw error;
    const { path } = /while reading/.test(String(error.fields["reason"])) ? from : to;
    const reason = `disk '${disk}': ${error.fields["reason"]}`;
    throw new QmError("QM_IMAGE_TOOL", { ...error.fields, path, reason }, { cause: error });
  });
}

/** Clones the file's blocks; false where the file system does not do that. Node's own way would change the target's mode. */
async function shareBlocks({ from, to, signal }: CopyLayerOptions): Promise<boolean> {
  try {
    const argv = ["cp", "--reflink=always", "--", from.path, to.path] as const;
    await runTool(argv, { path: to.path, ...(signal === undefined ? {} : { signal }) });
    return true;
  } catch (error) {
    if (isQmError(error, "QM_CANCELLED")) throw error;
    return false;
  }
}

async function withTarget(to: ImageRef, use: (file: FileHandle) => Promise<void>): Promise<void> {
  try {
    const file = await open(to.path, "r+");
    try {
      await use(file);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new QmError("QM_IO", { what: "writing", path: to.path, reason: errorText(error) }, { cause: error });
  }
}

function asBytes(image: ImageRef): ImageRef {
  return { ...image, format: "raw" };
}

function typeMismatch(to: ImageRef, disk: string): QmError {
  const reason = to.type === "file" ? "it is a block device" : "it is a regular file";
  return new QmError("QM_IMAGE_FORMAT", { disk, path: to.path, format: `of type '${to.type}'`, reason });
}
