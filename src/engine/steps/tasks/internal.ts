/** Internal snapshots: by the running QEMU's jobs where it has the images, by qemu-img otherwise. */
import {
  applyInternal as applyOffline,
  createInternal,
  deleteInternal as deleteOffline,
  listInternalSnapshots,
} from "../../../image/internal-snapshots.ts";
import { QmError } from "../../../base/errors.ts";
import type { ImageRef } from "../../../model/image.ts";
import { watchJobs } from "../../../qemu/block-jobs.ts";
import { deleteInternalBelow } from "../../../qemu/internal-below.ts";
import {
  deleteInternal as deleteLive,
  loadInternal as loadLive,
  saveInternal,
} from "../../../qemu/internal-snapshots.ts";
import { ignoreRefusal } from "../../../qemu/tolerate.ts";
import type { ApplyInternal, DeleteInternal, InternalLive, InternalOffline, LoadInternal } from "../task-plan.ts";
import { findLiveDisk, indexOfLayer, requireNode, toImageNode, type LiveDisk } from "./live-layers.ts";
import type { TaskContext, TaskHandler } from "./task.ts";

export const internalOffline: TaskHandler<InternalOffline> = {
  act: ({ disk, image, tag }, { signal }) => createInternal({ disk, image, tag, signal }),
  undo: ({ disk, image, tag }, { signal }) => deleteWhereThere(disk, image, tag, signal),
};

export const applyInternalImage: TaskHandler<ApplyInternal> = {
  act: ({ disk, image, tag }, { signal }) => applyOffline({ disk, image, tag, signal }),
};

export const internalLive: TaskHandler<InternalLive> = {
  async act(task, context) {
    const { monitor, nodes } = await activeNodes(task.disks, context);
    const [vmstateNode] = nodes;
    if (vmstateNode === undefined) return;
    const { jobId, tag } = task;
    await saveInternal(monitor, { jobId, tag, vmstateNode, nodes, signal: context.signal });
  },
  async undo(task, context) {
    await settleJob(task, context);
    await deleteEverywhere({ ...task, jobId: `${task.jobId}-undo` }, context);
  },
};

export const deleteInternalImages: TaskHandler<DeleteInternal> = { act: deleteEverywhere };

export const loadInternalImages: TaskHandler<LoadInternal> = {
  async act(task, context) {
    // QEMU may have ended since it was started for this.
    if (context.machine.monitor() === undefined) await context.machine.start(task.definition, { paused: true });
    const { monitor, nodes } = await activeNodes(task.disks, context);
    const [vmstateNode] = nodes;
    if (vmstateNode === undefined) return;
    const { jobId, tag } = task;
    await loadLive(monitor, { jobId, tag, vmstateNode, nodes, signal: context.signal });
  },
};

type Images = readonly { readonly disk: string; readonly image: ImageRef }[];

async function activeNodes(disks: Images, { machine }: TaskContext) {
  const found = await Promise.all(
    disks.map(async ({ disk, image }) => {
      const live = await findLiveDisk(machine, disk);
      if (live === undefined || indexOfLayer(live, image.path) !== 0) {
        throw new QmError("QM_CHAIN_BROKEN", { disk, path: image.path, reason: "the guest does not write to it" });
      }
      return { monitor: live.monitor, node: requireNode(live, image.path).node };
    }),
  );
  const monitor = found[0]?.monitor;
  if (monitor === undefined) throw new RangeError("an internal snapshot of no disk");
  return { monitor, nodes: found.map(({ node }) => node) };
}

/** A job that the daemon did not live to see the end of: QEMU cannot cancel it. */
async function settleJob({ jobId: id, disks }: InternalLive, { machine }: TaskContext): Promise<void> {
  const monitor = machine.monitor();
  if (monitor === undefined) return;
  const watch = watchJobs(monitor, [{ id, disk: disks.map(({ disk }) => disk).join(", ") }]);
  try {
    await watch.refresh();
    if ((watch.states.get(id) ?? "absent") === "absent") return;
    await watch.until(["concluded", "null", "absent"], { what: "saving the internal snapshot" });
    await ignoreRefusal(monitor.execute("job-dismiss", { id }));
  } finally {
    watch.close();
  }
}

/** Each image's own: some may have lost theirs in an earlier try. */
async function deleteEverywhere(
  { disks, tag, jobId }: Pick<DeleteInternal, "disks" | "tag" | "jobId">,
  context: TaskContext,
): Promise<void> {
  const liveNodes: string[] = [];
  let monitor;
  for (const { disk, image, discard = "ignore" } of disks) {
    const live = await findLiveDisk(context.machine, disk);
    const place = indexOfLayer(live, image.path);
    if (live === undefined || place < 0) await deleteWhereThere(disk, image, tag, context.signal);
    else if (place > 0) await deleteBelow(live, place, { tag, discard, jobId: `${jobId}-${disk}` }, context.signal);
    else if (await hasTag(disk, image, tag)) {
      liveNodes.push(requireNode(live, image.path).node);
      monitor = live.monitor;
    }
  }
  if (monitor !== undefined) await deleteLive(monitor, { jobId, tag, nodes: liveNodes, signal: context.signal });
}

async function deleteBelow(
  { monitor, guest }: LiveDisk,
  place: number,
  { tag, discard, jobId }: { tag: string; discard: "ignore" | "unmap"; jobId: string },
  signal: AbortSignal,
): Promise<void> {
  const [layer, below] = guest.layers.slice(place);
  if (layer?.fileNode === undefined) {
    const path = layer?.image.path ?? "";
    const what = `deleting the internal snapshot '${tag}' in it while the guest runs`;
    throw new QmError("QM_SNAPSHOT_NEEDS_IMAGE", { disk: guest.target, path, user: "the running guest", what });
  }
  const cache = { ...layer.cache, detectZeroes: layer.detectZeroes, discard };
  const backing = below?.node ?? null;
  await deleteInternalBelow(monitor, { jobId, tag, layer: toImageNode(layer), cache, backing, signal });
}

async function deleteWhereThere(disk: string, image: ImageRef, tag: string, signal: AbortSignal): Promise<void> {
  if (await hasTag(disk, image, tag)) await deleteOffline({ disk, image, tag, signal });
}

async function hasTag(disk: string, image: ImageRef, tag: string): Promise<boolean> {
  return (await listInternalSnapshots(image, { disk })).some(({ name }) => name === tag);
}
