/** Takes the data of lower layers into a layer while nobody has any of them open: docs/internals/merging.md. */
import type { ImageRef } from "../model/image.ts";
import { readChain } from "./chain.ts";
import { syncFile } from "./files.ts";
import { chainJson } from "./image-json.ts";
import { readImageInfo } from "./info.ts";
import { followProgress, type ProgressHandler } from "./progress.ts";
import { runQemuImg } from "./run-qemu-img.ts";

export interface PullLayerOptions {
  readonly disk: string;
  /** A qcow2 image. */
  readonly top: ImageRef;
  /** What it has stood on until now, whatever its header says: see below. */
  readonly backing: ImageRef;
  /** What its header names afterwards: an image of the chain below `backing`. Absent: none, `top` stands alone. */
  readonly newBacking?: ImageRef;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressHandler;
}

/**
 * Copies into `top` what it shows of the layers between it and `newBacking`, then names `newBacking` in its header (`qemu-img
 * rebase`, the safe kind; it knows no limit of speed). Only `top` is written.
 *
 * Holds on success: `top` shows what it showed, without those layers, and is on stable storage. Holds always: `top` on `backing`
 * shows the same, so the call may be repeated after any failure. What the header names is not believed: a QEMU that dies
 * while it pulls may leave `newBacking` there before the last data.
 *
 * Errors: `QM_IMAGE_TOOL` (a QEMU has an image open; no space), `QM_CANCELLED`, and those of `readImageInfo` and `readChain`.
 */
export async function pullLayer(options: PullLayerOptions): Promise<void> {
  const { disk, top, backing, newBacking, signal, onProgress } = options;
  const { virtualSizeBytes } = await readImageInfo(top, { disk });
  const chain = chainJson([top, ...(await readChain(backing, { disk }))]);
  const below = newBacking === undefined ? ["-b", ""] : ["-F", newBacking.format, "-b", newBacking.path];
  onProgress?.(0, virtualSizeBytes);
  // Written through: the header must not reach the disk before the data that it no longer looks for below.
  await runQemuImg(["rebase", "-p", "-t", "writethrough", ...below, chain], {
    path: top.path,
    onStdout: followProgress(virtualSizeBytes, onProgress),
    ...(signal === undefined ? {} : { signal }),
  });
  await syncFile(top.path);
}
