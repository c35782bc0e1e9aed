/** Room on file systems. */
import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { errorText, QmError } from "../base/errors.ts";

/**
 * Throws `QM_NO_SPACE` when the file system of `directory` has less than `neededBytes` for unprivileged users;
 * `QM_NO_DIRECTORY` when there is no such directory, `QM_IO` when it cannot be asked.
 */
export async function assertSpace(options: {
  readonly directory: string;
  readonly neededBytes: number;
}): Promise<void> {
  const { directory: path, neededBytes } = options;
  const { bavail, bsize } = await statfs(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR")
      throw new QmError("QM_NO_DIRECTORY", { path }, { cause: error });
    throw new QmError("QM_IO", { what: "asking the free space of", path, reason: errorText(error) }, { cause: error });
  });
  const availableBytes = bavail * bsize;
  if (availableBytes < neededBytes) throw new QmError("QM_NO_SPACE", { path, availableBytes, neededBytes });
}

/** Whether a tool's or QEMU's words say that a file system, or somebody's share of it, is full. */
export function saysFull(words: string): boolean {
  return /No space left on device|Disk quota exceeded/.test(words);
}

/** Free bytes for unprivileged users in the file system of `path`, or of its directory where there is no such file; 0 when it cannot be asked. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path)
    .catch(() => statfs(dirname(path)))
    .catch(() => ({ bavail: 0, bsize: 0 }));
  return bavail * bsize;
}

/** Bytes that a file takes on its file system; holes take none. Rejects with `QM_IO`. */
export async function allocatedBytes(path: string): Promise<number> {
  const { blocks } = await stat(path).catch((error: unknown) => {
    throw new QmError("QM_IO", { what: "reading", path, reason: errorText(error) }, { cause: error });
  });
  return blocks * 512;
}
