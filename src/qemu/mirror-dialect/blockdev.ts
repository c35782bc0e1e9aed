/**
 * Today's QEMU: every image is a named node, mirrors are `blockdev-mirror` jobs in write-blocking mode.
 *
 * A mirror's image gets the *source's* base as its backing node until the copied base is attached (`blockdev-reopen`): with no
 * backing at all, a guest write smaller than a cluster would make QEMU fill the rest of the cluster with zeros on the mirror,
 * over data of the base (seen on QEMU 7.2: docs/decisions/0002-mirror-backing.md).
 */
import { allSettledOrFirstError } from "../../base/settle.ts";
import { watchJobs, type WaitedJob } from "../block-jobs.ts";
import type { Monitor } from "../monitor.ts";
import type { MirrorDialect, MirroredDiskPlan, SnapshotDiskPlan } from "./dialect.ts";
import { closeNodes, createImages, endCreating, fileNodeOptions, formatNodeOptions, nodesOf } from "./image-nodes.ts";
import {
  cancelJobs,
  finalizeAll,
  finalizeJobs,
  requireNone,
  holdJobs,
  holdJobsForClone,
  jobPhases,
  mirrorJobs,
  stopJobs,
} from "./mirror-jobs.ts";

export const blockdevCommands = [
  "blockdev-add",
  "blockdev-create",
  "blockdev-reopen",
  "blockdev-mirror",
  "job-finalize",
  "transaction",
] as const;

export const blockdevDialect: MirrorDialect = {
  name: "blockdev",
  ...jobPhases,

  prepare: createImages,

  async undoPrepare(monitor, disks) {
    await endCreating(monitor, disks);
    await closeNodes(
      monitor,
      disks.flatMap((disk) => [...mirrorNodes(disk), ...nodesOf(disk.overlay)]),
    );
  },

  async takeSnapshot(monitor, disks) {
    await monitor.execute("transaction", {
      actions: disks.map((disk) => ({
        type: "blockdev-snapshot",
        data: { node: disk.base.node, overlay: disk.overlay.node },
      })),
    });
  },

  async startMirrors(monitor, disks, bytesPerS) {
    await allSettledOrFirstError(disks.flatMap((disk) => startMirror(monitor, disk, bytesPerS)));
  },

  async stopMirrors(monitor, disks) {
    await stopJobs(monitor, mirrorJobs(disks));
    await closeNodes(monitor, disks.flatMap(mirrorNodes));
  },

  async attachBacking(monitor, disks) {
    const moved = disks.filter((disk) => !disk.mirror.sharesBase);
    if (moved.length === 0) return;
    // An earlier try, before a crash of the daemon, may have opened some.
    const present = new Set((await monitor.execute("query-named-block-nodes", { flat: true })).map(nodeName));
    await allSettledOrFirstError(moved.flatMap((disk) => openBackingChain(monitor, disk, present)));
    await monitor.execute("blockdev-reopen", {
      options: moved.map((disk) => formatNodeOptions(disk.mirror, disk.cache, false, disk.mirror.backing[0].node)),
    });
  },

  async mirrorAgain(monitor, disks) {
    await allSettledOrFirstError(disks.map((disk) => startMirrorJob(monitor, disk, 0)));
  },

  async restartMirrors(monitor, disks) {
    await stopJobs(monitor, mirrorJobs(disks));
    await closeNodes(monitor, disks.flatMap(mirrorNodes));
    await allSettledOrFirstError(
      disks.map(({ mirror, cache }) => monitor.execute("blockdev-add", fileNodeOptions(mirror, cache))),
    );
    await allSettledOrFirstError(disks.flatMap((disk) => startMirror(monitor, disk, 0)));
  },

  async finishClone(monitor, disks, decide, timeoutMs) {
    await holdJobsForClone(monitor, mirrorJobs(disks), timeoutMs);
    decide();
    await finalizeAll(monitor, mirrorJobs(disks), "clone");
    await closeNodes(monitor, disks.flatMap(mirrorNodes));
  },

  async closeSource(monitor, _disks, layers) {
    await closeNodes(monitor, layers);
  },

  async commitBack(monitor, disks, decide, timeoutMs) {
    const jobs = commitJobs(disks);
    await startCommits(monitor, disks, jobs);
    try {
      await holdJobs(monitor, jobs, timeoutMs);
      decide();
    } catch (error) {
      await cancelJobs(monitor, jobs);
      throw error;
    }
    await finishCommits(monitor, disks);
  },

  finishCommitBack: finishCommits,
};

function mirrorNodes(disk: SnapshotDiskPlan): string[] {
  return disk.mirror === undefined
    ? []
    : [...nodesOf(disk.mirror), ...(disk.mirror.sharesBase ? [] : disk.mirror.backing.flatMap(nodesOf))];
}

/** Sent together: where the image cannot be opened, its mirror has no target and is refused too. */
function startMirror(monitor: Monitor, disk: MirroredDiskPlan, bytesPerS: number): Promise<unknown>[] {
  const { mirror, base, cache } = disk;
  return [
    monitor.execute("blockdev-add", formatNodeOptions(mirror, cache, false, base.node)),
    startMirrorJob(monitor, disk, bytesPerS),
  ];
}

async function startMirrorJob(monitor: Monitor, disk: MirroredDiskPlan, bytesPerS: number): Promise<unknown> {
  return await monitor.execute("blockdev-mirror", {
    "job-id": disk.mirror.jobId,
    device: disk.overlay.node,
    target: disk.mirror.node,
    sync: "top",
    "copy-mode": "write-blocking",
    "on-source-error": "report",
    "on-target-error": "report",
    "auto-finalize": false,
    "auto-dismiss": false,
    ...(bytesPerS > 0 ? { speed: bytesPerS } : {}),
  });
}

/** From the bottom up, so that each layer finds the one below it. */
function openBackingChain(monitor: Monitor, disk: MirroredDiskPlan, present: ReadonlySet<string>): Promise<unknown>[] {
  const { backing } = disk.mirror;
  return backing
    .flatMap((layer, index) => [
      formatNodeOptions(layer, disk.cache, true, backing[index + 1]?.node ?? null),
      fileNodeOptions(layer, disk.cache),
    ])
    .toReversed()
    .filter((options) => !present.has(options["node-name"]))
    .map((options) => monitor.execute("blockdev-add", options));
}

function nodeName(node: { readonly "node-name"?: string }): string {
  return node["node-name"] ?? "";
}

function commitJobId(disk: SnapshotDiskPlan): string {
  return `commit-${disk.overlay.node}`;
}

function commitJobs(disks: readonly SnapshotDiskPlan[]): WaitedJob[] {
  return disks.map((disk) => ({ id: commitJobId(disk), disk: disk.target }));
}

async function startCommits(
  monitor: Monitor,
  disks: readonly SnapshotDiskPlan[],
  jobs: readonly WaitedJob[],
): Promise<void> {
  const watch = watchJobs(monitor, jobs);
  try {
    await allSettledOrFirstError(
      disks.map((disk) =>
        monitor.execute("block-commit", {
          "job-id": commitJobId(disk),
          device: disk.overlay.node,
          "base-node": disk.base.node,
          "auto-finalize": false,
          "auto-dismiss": false,
        }),
      ),
    );
    await watch.until(["ready"], { what: "merging the overlay back" });
  } catch (error) {
    await cancelJobs(monitor, jobs);
    throw error;
  } finally {
    watch.close();
  }
}

async function finishCommits(monitor: Monitor, disks: readonly SnapshotDiskPlan[]): Promise<void> {
  const failures = await finalizeJobs(monitor, commitJobs(disks));
  // Those that were merged: an overlay that is open still would keep its base from being snapshot again.
  await closeNodes(
    monitor,
    disks.flatMap((disk) => nodesOf(disk.overlay)),
  );
  requireNone(failures, "merging the overlay back");
}
