/** Images that an operation makes while no QEMU has them open. */
import { dirname } from "node:path";
import { copyLayer } from "../../../image/copy.ts";
import { createOverlay, setBacking } from "../../../image/create.ts";
import { syncDirectory, syncFile } from "../../../image/files.ts";
import { applyInternal, deleteInternal, listInternalSnapshots } from "../../../image/internal-snapshots.ts";
import { createOwnFile, removeOwnFiles } from "../own-files.ts";
import type { CopyImage, CreateOverlay } from "../task-plan.ts";
import type { TaskHandler } from "./task.ts";

export const createOverlayImage: TaskHandler<CreateOverlay> = {
  async act({ disk, image, backing, sizeBytes, like, reuse }, { journal, signal }) {
    if (reuse) return;
    await createOwnFile(journal, { disk, path: image.path, like });
    await createOverlay({ image, backing, sizeBytes, signal });
    await makeDurable(image.path);
  },
  async undo({ image, reuse }, { journal }) {
    if (!reuse) await removeOwnFiles(journal, [image.path]);
  },
};

export const copyImage: TaskHandler<CopyImage> = {
  async act({ disk, from, to, backing, sizeBytes, applyTag, keepTag }, { journal, signal, bytesPerS, reportProgress }) {
    const limit = bytesPerS();
    await createOwnFile(journal, { disk, path: to.path, like: from.path });
    await copyLayer({
      disk,
      from,
      to,
      signal,
      ...(limit > 0 ? { rateBytesPerS: limit } : {}),
      onProgress: (done, total) => reportProgress(disk, total === 0 ? 0 : (done / total) * sizeBytes, sizeBytes),
    });
    if (backing !== undefined) await setBacking({ image: to, backing, signal });
    if (applyTag !== undefined) await applyInternal({ disk, image: to, tag: applyTag, signal });
    for (const { name } of await listInternalSnapshots(to, { disk })) {
      if (name !== keepTag) await deleteInternal({ disk, image: to, tag: name, signal });
    }
    await makeDurable(to.path);
  },
  async undo({ to }, { journal }) {
    await removeOwnFiles(journal, [to.path]);
  },
};

async function makeDurable(path: string): Promise<void> {
  await syncFile(path);
  await syncDirectory(dirname(path));
}
