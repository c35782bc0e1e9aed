/** Merging layers, by QEMU where the guest has them open, by qemu-img otherwise. */
import { commitLayer } from "../../../image/commit-layer.ts";
import { resolveBackingPath } from "../../../image/chain.ts";
import { setBacking } from "../../../image/create.ts";
import { removeFile, syncFile } from "../../../image/files.ts";
import { readImageInfo } from "../../../image/info.ts";
import { pullLayer } from "../../../image/pull-layer.ts";
import { isQmError, QmError } from "../../../base/errors.ts";
import { allSettledOrFirstError } from "../../../base/settle.ts";
import type { ImageRef } from "../../../model/image.ts";
import { closeMergedLayers, commitActive, commitNodes, pullNodes } from "../../../qemu/layer-jobs.ts";
import type { MergeDown, PullUp, RemoveFile } from "../task-plan.ts";
import { findLiveDisk, indexOfLayer, requireNode, toImageNode, type LiveDisk } from "./live-layers.ts";
import type { TaskContext, TaskHandler } from "./task.ts";

export const mergeDown: TaskHandler<MergeDown> = {
  async act(task, context) {
    const { disk, top, base, above, change } = task;
    const { journal } = context;
    const live = await findLiveDisk(context.machine, disk);
    const place = indexOfLayer(live, top.path);
    if (live !== undefined && place === 0) {
      await mergeActive(live, task, context);
    } else if (live !== undefined && place > 0) await commitBelow(live, task, context);
    // Once `base` took the place of `top` it may be written to: never again. In the chain without `top`: QEMU has merged it.
    else if (!journal.established && indexOfLayer(live, base.path) < 0) {
      await commitLayer({ ...copyOptions(task, context), top, base });
    }
    for (const image of above) await makeStandOn(disk, image, base, context.signal);
    await allSettledOrFirstError([base, ...above].map(({ path }) => syncFile(path)));
    if (!journal.established) journal.establish(change);
  },
};

/** The guest writes to `top` until QEMU lets it go: the decision falls while both hold the same. */
async function mergeActive(live: LiveDisk, task: MergeDown, context: TaskContext): Promise<void> {
  const { top, base, change, takenBack } = task;
  const { journal } = context;
  try {
    await commitActive(live.monitor, {
      ...jobOptions(task, context),
      qdev: live.guest.qdev,
      top: requireNode(live, top.path),
      base: requireNode(live, base.path),
      decided: journal.established,
      decide: () => journal.establish(change),
    });
  } catch (error) {
    // QEMU itself says that the guest goes on on `top`.
    if (journal.established && isQmError(error, "QM_JOB_FAILED")) journal.retract(takenBack);
    throw error;
  }
}

async function commitBelow(live: LiveDisk, task: MergeDown, context: TaskContext): Promise<void> {
  const { top, base } = task;
  await commitNodes(live.monitor, {
    ...jobOptions(task, context),
    rootNode: live.guest.layers[0]?.node ?? "",
    top: requireNode(live, top.path),
    base: requireNode(live, base.path),
  });
}

/** A layer that QEMU has rewritten already, or whose header is written here: nobody has it open then. */
async function makeStandOn(disk: string, image: ImageRef, backing: ImageRef, signal: AbortSignal): Promise<void> {
  const { header } = await readImageInfo(image, { disk });
  const named = header?.backingName;
  const path = named === undefined ? undefined : await resolveBackingPath(image.path, named);
  if (path !== backing.path || header?.backingFormat !== backing.format) await setBacking({ image, backing, signal });
}

export const pullUp: TaskHandler<PullUp> = {
  async act(task, context) {
    const { top, from, backing, change } = task;
    const live = await findLiveDisk(context.machine, task.disk);
    if (live !== undefined && indexOfLayer(live, top.path) >= 0) {
      const between = live.guest.layers.filter(({ image }) => from.some(({ path }) => path === image.path));
      await pullNodes(live.monitor, {
        ...jobOptions(task, context),
        top: requireNode(live, top.path),
        between: between.map(toImageNode),
        ...(backing === undefined ? {} : { newBacking: requireNode(live, backing.path) }),
      });
    } else {
      const newBacking = backing === undefined ? {} : { newBacking: backing };
      await pullLayer({ ...copyOptions(task, context), top, backing: from[0], ...newBacking });
    }
    // QEMU may have changed its graph and not the header: nothing that the header still needs may go.
    const { header } = await readImageInfo(top, { disk: task.disk });
    const named =
      header?.backingName === undefined ? undefined : await resolveBackingPath(top.path, header.backingName);
    if (named !== backing?.path && from.some(({ path }) => path === named)) {
      throw new QmError("QM_CHAIN_BROKEN", {
        disk: task.disk,
        path: top.path,
        reason: `its header still names ${named}`,
      });
    }
    await syncFile(top.path);
    if (!context.journal.established) context.journal.establish(change);
  },
};

export const removeUnused: TaskHandler<RemoveFile> = {
  async act({ disk, image, jobId }, { machine, plan }) {
    if (image.type !== "file") return;
    const monitor = machine.monitor();
    if (monitor !== undefined && jobId !== undefined)
      await closeMergedLayers(monitor, { disk, jobId, images: [image] });
    const nodes = (await monitor?.execute("query-named-block-nodes", { flat: true })) ?? [];
    if (nodes.some(({ file }) => file === image.path)) {
      const user = `the running QEMU of domain '${plan.domain.name}'`;
      throw new QmError("QM_SNAPSHOT_NEEDS_IMAGE", { disk, path: image.path, user, what: "removing it" });
    }
    await removeFile(image.path);
  },
};

function jobOptions(task: MergeDown | PullUp, context: TaskContext) {
  return { ...copyOptions(task, context), jobId: task.jobId };
}

function copyOptions({ disk }: MergeDown | PullUp, { signal, bytesPerS, reportProgress }: TaskContext) {
  const limit = bytesPerS();
  return {
    disk,
    signal,
    ...(limit > 0 ? { bytesPerS: limit } : {}),
    onProgress: (doneBytes: number, totalBytes: number) => reportProgress(disk, doneBytes, totalBytes),
  };
}
