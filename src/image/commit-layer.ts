/** Merges a layer into the one below it while nobody has either open: docs/internals/merging.md. */
import { QmError } from "../base/errors.ts";
import type { ImageRef } from "../model/image.ts";
import { readChain } from "./chain.ts";
import { syncFile } from "./files.ts";
import { chainJson } from "./image-json.ts";
import { readImageInfo } from "./info.ts";
import { followProgress, type ProgressHandler } from "./progress.ts";
import { runQemuImg } from "./run-qemu-img.ts";

export interface CommitLayerOptions {
  readonly disk: string;
  /** A qcow2 image. */
  readonly top: ImageRef;
  /** Its direct backing image; what stands below that is read from its header. */
  readonly base: ImageRef;
  readonly signal?: AbortSignal;
  /** Bytes per second at most; absent: as fast as it goes. */
  readonly bytesPerS?: number;
  readonly onProgress?: ProgressHandler;
}

/**
 * Writes all data of `top` into `base` (`qemu-img commit -d`), which grows where it is smaller. Other images that stand on `base`
 * change what they show with the first byte.
 *
 * Holds on success: `base` shows what `top` showed, and is on stable storage. Holds always: `top` is as it was, and still shows
 * the same, so the call may be repeated after any failure, a crash included.
 *
 * Errors: `QM_UNSUPPORTED` (`base` is larger than `top`: what it has behind the end of `top` would come to light; pull instead),
 * `QM_IMAGE_TOOL` (a QEMU has an image open; no space; a block device that is too small), `QM_CANCELLED`, and those of
 * `readImageInfo` and `readChain`.
 */
export async function commitLayer(options: CommitLayerOptions): Promise<void> {
  const { disk, top, base, signal, bytesPerS, onProgress } = options;
  const { virtualSizeBytes } = await readImageInfo(top, { disk });
  const { virtualSizeBytes: baseSizeBytes } = await readImageInfo(base, { disk });
  if (baseSizeBytes > virtualSizeBytes) {
    const detail = `: ${base.path} has ${baseSizeBytes} bytes, ${top.path} ${virtualSizeBytes}`;
    throw new QmError("QM_UNSUPPORTED", { what: "merging a layer above a larger backing image", detail, disk });
  }
  // With all that is below: where a write covers part of a cluster of `base`, the rest of it comes from there.
  const chain = chainJson([top, ...(await readChain(base, { disk }))]);
  const rate = bytesPerS === undefined ? [] : ["-r", String(bytesPerS)];
  onProgress?.(0, virtualSizeBytes);
  await runQemuImg(["commit", "-d", "-p", "-t", "writeback", ...rate, chain], {
    path: base.path,
    onStdout: followProgress(virtualSizeBytes, onProgress),
    ...(signal === undefined ? {} : { signal }),
  });
  await syncFile(base.path);
}
