import { stat } from "node:fs/promises";
import { createEmptyFile } from "../../image/files.ts";

/** An empty new file with the owner and mode of the image `like`: QEMU may run as another user. `QM_FILE_EXISTS` as it says. */
export async function createLike(file: { disk: string; path: string; like: string }): Promise<void> {
  const like = await stat(file.like);
  const mode = like.isFile() ? like.mode & 0o660 : 0o600;
  const owner = process.getuid?.() === 0 && like.isFile() ? { uid: like.uid, gid: like.gid } : {};
  await createEmptyFile(file.path, { disk: file.disk, mode, ...owner });
}
