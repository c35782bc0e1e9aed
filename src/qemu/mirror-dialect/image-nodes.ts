/** Opening and closing images as nodes of QEMU's graph: the protocol node (`fileNode`) and the format node above it. */
import { allSettledOrFirstError } from "../../base/settle.ts";
import { ignoreRefusal } from "../tolerate.ts";
import type { Monitor } from "../monitor.ts";
import { watchJobs, type WaitedJob } from "../block-jobs.ts";
import type { CacheMode, ImageNode, SnapshotDiskPlan } from "./dialect.ts";
import { QmError } from "../../base/errors.ts";

/** Arguments of `blockdev-add` for the protocol node. No `aio`: an inherited io_uring on a mirror's target can crash QEMU. */
export function fileNodeOptions(image: ImageNode, cache: CacheMode) {
  return {
    driver: image.image.type === "block" ? ("host_device" as const) : ("file" as const),
    "node-name": image.fileNode,
    filename: image.image.path,
    // Opened for writing only while something above it writes: a backing image that is merged into needs that later.
    "auto-read-only": true,
    discard: cache.discard,
    cache: { direct: cache.direct, "no-flush": cache.noFlush },
  };
}

/** Arguments of `blockdev-add` for the format node; `backing` is a node's name, or null: QEMU never opens one by itself. */
export function formatNodeOptions(image: ImageNode, cache: CacheMode, readOnly: boolean, backing: string | null) {
  const common = {
    "node-name": image.node,
    file: image.fileNode,
    "read-only": readOnly,
    discard: cache.discard,
    "detect-zeroes": cache.detectZeroes,
    cache: { direct: cache.direct, "no-flush": cache.noFlush },
  };
  return image.image.format === "raw"
    ? { driver: "raw" as const, ...common }
    : { driver: "qcow2" as const, ...common, backing };
}

interface NewImage {
  readonly disk: SnapshotDiskPlan;
  readonly image: ImageNode;
  /** Named in the header. */
  readonly backing: ImageNode;
}

/**
 * Opens the protocol nodes of new overlays and mirrors and writes their qcow2 headers with QEMU's own `blockdev-create`
 * jobs: no process, and the image is flushed when its job has concluded. Reused images are only opened. Then opens the overlays;
 * mirrors are opened when they start, for their backing image is known then.
 */
export async function createImages(
  monitor: Monitor,
  disks: readonly SnapshotDiskPlan[],
  signal: AbortSignal,
): Promise<void> {
  const images = disks.flatMap(newImages);
  const jobs = createJobs(disks);
  const watch = watchJobs(monitor, jobs);
  try {
    await allSettledOrFirstError(
      images.flatMap(({ disk, image, backing }) => [
        monitor.execute("blockdev-add", fileNodeOptions(image, disk.cache)),
        ...(disk.reuse ? [] : [createImage(monitor, disk, image, backing)]),
      ]),
    );
    await watch.until(["concluded"], { signal, what: "creating the image" });
    // One pipeline: the answer to the first tells whether the others could succeed at all.
    const answered = watch.refresh();
    const opened = allSettledOrFirstError([
      ...jobs.map(({ id }) => monitor.execute("job-dismiss", { id })),
      ...disks.map((disk) => monitor.execute("blockdev-add", formatNodeOptions(disk.overlay, disk.cache, false, null))),
    ]);
    const [errors, outcome] = await Promise.allSettled([answered, opened]);
    if (errors.status === "rejected") throw errors.reason;
    const failed = jobs.find(({ id }) => errors.value.has(id));
    if (failed !== undefined) {
      const reason = errors.value.get(failed.id) ?? "";
      throw new QmError("QM_JOB_FAILED", { disk: failed.disk, job: "creating the image", reason });
    }
    if (outcome.status === "rejected") throw outcome.reason;
  } catch (error) {
    await endCreating(monitor, disks).catch(() => {
      // The connection is gone: the first error says so already.
    });
    throw error;
  } finally {
    watch.close();
  }
}

/** Waits for what `createImages` has begun, and dismisses it. A job that creates an image cannot be stopped, and holds its node. Idempotent. */
export async function endCreating(monitor: Monitor, disks: readonly SnapshotDiskPlan[]): Promise<void> {
  const jobs = createJobs(disks);
  const watch = watchJobs(monitor, jobs);
  try {
    await watch.refresh();
    const present = jobs.filter(({ id }) => watch.states.get(id) !== "absent");
    await watch.until(["concluded", "null", "absent"], { what: "creating the image" });
    await allSettledOrFirstError(present.map(({ id }) => ignoreRefusal(monitor.execute("job-dismiss", { id }))));
  } finally {
    watch.close();
  }
}

function createJobs(disks: readonly SnapshotDiskPlan[]): WaitedJob[] {
  return disks
    .flatMap(newImages)
    .filter(({ disk }) => !disk.reuse)
    .map(({ disk, image }) => ({ id: createJobId(image), disk: disk.target }));
}

function createJobId(image: ImageNode): string {
  return `create-${image.node}`;
}

function createImage(monitor: Monitor, disk: SnapshotDiskPlan, image: ImageNode, backing: ImageNode) {
  return monitor.execute("blockdev-create", {
    "job-id": createJobId(image),
    options: {
      driver: "qcow2",
      file: image.fileNode,
      size: disk.sizeBytes,
      "backing-file": backing.image.path,
      "backing-fmt": backing.image.format,
    },
  });
}

function newImages(disk: SnapshotDiskPlan): NewImage[] {
  const overlay = { disk, image: disk.overlay, backing: disk.base };
  return disk.mirror === undefined
    ? [overlay]
    : [overlay, { disk, image: disk.mirror, backing: disk.mirror.backing[0] }];
}

/** Closes nodes in the order given (a parent before its children); those that are not there, or in use, stay as they are. */
export async function closeNodes(monitor: Monitor, nodes: readonly string[]): Promise<void> {
  await allSettledOrFirstError(
    nodes.map((node) => ignoreRefusal(monitor.execute("blockdev-del", { "node-name": node }))),
  );
}

export function nodesOf(image: ImageNode): string[] {
  return [image.node, image.fileNode];
}
