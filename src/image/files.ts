/** Files made and removed so that a crash or a stranger's file does no harm. */
import { constants, type Stats } from "node:fs";
import { lstat, open, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { errorText, QmError } from "../base/errors.ts";
import { requireAbsolute } from "./open-image.ts";

export interface CreateFileOptions {
  /** The disk that an error names. */
  readonly disk: string;
  /** Exactly this, whatever the umask; default 0600. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * Creates an empty regular file that did not exist. A name taken by anything, a symbolic link too, is `QM_FILE_EXISTS`; a missing
 * parent is `QM_NO_DIRECTORY`; all else `QM_IO`. After a failure no file of ours is left. Durable after `syncDirectory`.
 */
export async function createEmptyFile(path: string, options: CreateFileOptions): Promise<void> {
  const { disk, mode = 0o600, uid = -1, gid = -1 } = options;
  requireAbsolute(path);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(path, flags, 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "EEXIST") throw new QmError("QM_FILE_EXISTS", { disk, path }, { cause: error });
    if (error.code === "ENOENT" || error.code === "ENOTDIR") {
      throw new QmError("QM_NO_DIRECTORY", { path: dirname(path) }, { cause: error });
    }
    throw ioError("creating", path, error);
  });
  try {
    if (uid !== -1 || gid !== -1) await file.chown(uid, gid);
    await file.chmod(mode);
  } catch (error) {
    await unlink(path).catch(() => undefined);
    throw ioError("creating", path, error);
  } finally {
    await file.close();
  }
}

export type TargetState = "missing" | "file" | "block";

/**
 * Says what a target path holds, when it may be written: nothing yet, an empty regular file, or a block device; with
 * `reuseExternal` it must exist, and a regular file may have contents.
 *
 * Errors: `QM_FILE_EXISTS`, `QM_NO_FILE` (`reuseExternal` only), `QM_NO_DIRECTORY`, `QM_UNSUPPORTED` (another kind of file),
 * `QM_INVALID` (path not absolute), `QM_IO`. Nothing is changed.
 */
export async function assertUsableTarget(
  disk: string,
  path: string,
  { reuseExternal = false }: { readonly reuseExternal?: boolean } = {},
): Promise<TargetState> {
  requireAbsolute(path);
  const directory = dirname(path);
  const parent = await statIfAny(directory);
  if (parent?.isDirectory() !== true) throw new QmError("QM_NO_DIRECTORY", { path: directory });
  const stats = await statIfAny(path);
  if (stats === undefined) {
    if (reuseExternal) throw new QmError("QM_NO_FILE", { disk, path });
    // A symbolic link to nothing.
    if ((await statIfAny(path, lstat)) !== undefined) throw new QmError("QM_FILE_EXISTS", { disk, path });
    return "missing";
  }
  if (stats.isBlockDevice()) return "block";
  if (!stats.isFile()) {
    throw new QmError("QM_UNSUPPORTED", { what: path, detail: ": it is neither a regular file nor a block device" });
  }
  if (stats.size > 0 && !reuseExternal) throw new QmError("QM_FILE_EXISTS", { disk, path });
  return "file";
}

/** Makes the names in a directory durable. Rejects with `QM_IO`. */
export async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (error) {
    throw ioError("syncing", path, error);
  }
}

/** Makes a file's contents durable. Rejects with `QM_IO`. */
export async function syncFile(path: string): Promise<void> {
  try {
    const file = await open(path, constants.O_RDONLY);
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw ioError("syncing", path, error);
  }
}

/**
 * Removes a file, durably: after a power failure it does not come back with nobody to know of it. One that is not there is no error.
 * Rejects with `QM_IO`.
 */
export async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw ioError("removing", path, error);
  });
  // Also where it is gone: an earlier try may have ended between the two.
  const directory = dirname(path);
  if ((await statIfAny(directory)) !== undefined) await syncDirectory(directory);
}

async function statIfAny(path: string, how: (path: string) => Promise<Stats> = stat): Promise<Stats | undefined> {
  return await how(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw ioError("reading", path, error);
  });
}

function ioError(what: string, path: string, error: unknown): QmError {
  return new QmError("QM_IO", { what, path, reason: errorText(error) }, { cause: error });
}
