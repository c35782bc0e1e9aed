/** Opens an image file for reading facts from it, and nothing that is not a file or a block device. */
import { constants, type BigIntStats } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import { errorText, QmError } from "../base/errors.ts";
import type { ImageName } from "./qcow2-header.ts";

export interface OpenImage {
  readonly file: FileHandle;
  readonly type: "file" | "block";
  readonly stats: BigIntStats;
  /** Equal for two paths of one file or device. */
  readonly identity: string;
}

/**
 * Calls `use` with the image opened read-only, and closes it.
 * Errors: `QM_INVALID` (path not absolute), `QM_NO_FILE`, `QM_UNSUPPORTED` (neither regular file nor block device), `QM_IO`.
 */
export async function withImage<T>(name: ImageName, use: (image: OpenImage) => Promise<T>): Promise<T> {
  requireAbsolute(name.path);
  let file: FileHandle | undefined;
  try {
    // First by path: opening some devices has effects of its own.
    imageType(name.path, await stat(name.path, { bigint: true }));
    file = await open(name.path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await file.stat({ bigint: true });
    const type = imageType(name.path, stats);
    return await use({ file, type, stats, identity: identityOf(stats) });
  } catch (error) {
    if (error instanceof QmError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") throw new QmError("QM_NO_FILE", { ...name }, { cause: error });
    throw new QmError("QM_IO", { what: "reading", ...name, reason: errorText(error) }, { cause: error });
  } finally {
    await file?.close();
  }
}

/**
 * Throws `QM_INVALID` unless the path is absolute: QEMU takes no such path for an option or for the name of a protocol,
 * whatever commas, colons and dashes it has.
 */
export function requireAbsolute(path: string): void {
  if (!path.startsWith("/") || path.includes("\0")) {
    throw new QmError("QM_INVALID", { reason: `image path '${path.replaceAll("\0", "\\0")}' is not absolute` });
  }
}

/** Equal for two names of one file or block device. */
export function identityOf(stats: BigIntStats): string {
  return stats.isBlockDevice() ? `block ${stats.rdev}` : `file ${stats.dev} ${stats.ino}`;
}

function imageType(path: string, stats: BigIntStats): OpenImage["type"] {
  if (stats.isFile()) return "file";
  if (stats.isBlockDevice()) return "block";
  throw new QmError("QM_UNSUPPORTED", { what: path, detail: ": it is neither a regular file nor a block device" });
}
