/** Files that the operation makes, told from those that somebody else made under the same name meanwhile. */
import { stat } from "node:fs/promises";
import { isQmError } from "../../base/errors.ts";
import { createEmptyFile, removeFile } from "../../image/files.ts";
import type { OperationJournal } from "./step.ts";

type FileJournal = Pick<OperationJournal, "record" | "has">;

/**
 * An empty new file with the owner and mode of the image `like`: QEMU may run as another user. `QM_FILE_EXISTS` when the name was
 * taken since the plan was made; that is recorded, so that no undo removes a stranger's file.
 */
export async function createOwnFile(
  journal: FileJournal,
  file: { readonly disk: string; readonly path: string; readonly like: string },
): Promise<void> {
  // The name of an image on the network is no path: nothing to be like.
  const like = file.like.startsWith("/") ? await stat(file.like) : undefined;
  const mode = like?.isFile() ? like.mode & 0o660 : 0o600;
  const owner = process.getuid?.() === 0 && like?.isFile() ? { uid: like.uid, gid: like.gid } : {};
  try {
    await createEmptyFile(file.path, { disk: file.disk, mode, ...owner });
  } catch (error) {
    if (isQmError(error, "QM_FILE_EXISTS")) journal.record("not-ours", file.path);
    throw error;
  }
}

export async function removeOwnFiles(journal: FileJournal, paths: readonly string[]): Promise<void> {
  await Promise.all(paths.filter((path) => !journal.has("not-ours", path)).map((path) => removeFile(path)));
}
