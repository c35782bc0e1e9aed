/** Creates qcow2 images where no QEMU runs that could do it itself. */
import { backingFileName, type ImageRef } from "../model/image.ts";
import { requireAbsolute } from "./open-image.ts";
import { runQemuImg } from "./run-qemu-img.ts";

export interface CreateOverlayOptions {
  /** A qcow2 image; an existing file keeps its owner and mode, and loses its contents. */
  readonly image: ImageRef;
  /** Named in the header with its format, and not opened: it need not exist yet. Absent: no backing file. */
  readonly backing?: ImageRef;
  readonly sizeBytes: number;
  /** Power of two from 512 to 2 MiB; default 64 KiB. */
  readonly clusterSizeBytes?: number;
  readonly signal?: AbortSignal;
}

/** `qemu-img create -u`. Errors: `QM_INVALID`, `QM_IMAGE_TOOL`, `QM_CANCELLED`; the file may then be half written. */
export async function createOverlay(options: CreateOverlayOptions): Promise<void> {
  const { image, backing, sizeBytes, clusterSizeBytes, signal } = options;
  requireAbsolute(image.path);
  await runQemuImg(
    [
      ...["create", "-q", "-f", "qcow2", "-u"],
      ...(backing === undefined ? [] : backingArgs(backing)),
      ...(clusterSizeBytes === undefined ? [] : ["-o", `cluster_size=${clusterSizeBytes}`]),
      ...[image.path, String(sizeBytes)],
    ],
    { path: image.path, ...(signal === undefined ? {} : { signal }) },
  );
}

export interface SetBackingOptions {
  readonly image: ImageRef;
  readonly backing: ImageRef;
  readonly signal?: AbortSignal;
}

/**
 * Rewrites the backing file's name and format in a qcow2 header (`qemu-img rebase -u`); neither backing file is opened, guest
 * data is not touched. Errors: as {@link createOverlay}.
 */
export async function setBacking({ image, backing, signal }: SetBackingOptions): Promise<void> {
  requireAbsolute(image.path);
  const args = ["rebase", "-q", "-u", "-f", "qcow2", ...backingArgs(backing), image.path];
  await runQemuImg(args, { path: image.path, ...(signal === undefined ? {} : { signal }) });
}

function backingArgs(backing: ImageRef): string[] {
  if (backing.type !== "network") requireAbsolute(backing.path);
  const { name, format } = backingFileName(backing);
  return ["-F", format, "-b", name];
}
