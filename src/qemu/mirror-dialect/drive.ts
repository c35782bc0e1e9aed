/**
 * QEMU 3.1 and later where nodes cannot be named or reopened: `blockdev-snapshot-sync` and `drive-mirror` by device, the same
 * job commands to end them.
 *
 * Mirrors run in background copy mode: `drive-mirror` opens its target without backing, and only background copying rounds its
 * writes to whole clusters then (docs/decisions/0002-mirror-backing.md). A guest that writes faster than the mirror drains makes
 * the pivot time out and be given up, never split.
 */
import { allSettledOrFirstError } from "../../base/settle.ts";
import { QmError } from "../../base/errors.ts";
import type { Monitor } from "../monitor.ts";
import type { ImageCreator, MirrorDialect, MirroredDiskPlan, SnapshotDiskPlan } from "./dialect.ts";
import { finalizeAll, holdJobsForClone, jobPhases, mirrorJobs, stopJobs } from "./mirror-jobs.ts";

export const driveCommands = ["transaction", "drive-mirror", "job-finalize"] as const;

export function createDriveDialect(createImage: ImageCreator): MirrorDialect {
  return {
    name: "drive",
    ...jobPhases,

    async prepare(_monitor, disks, signal) {
      await createHeaders(disks, createImage, signal);
    },

    // QEMU opens the images by itself, when the snapshot is taken.
    undoPrepare: () => Promise.resolve(),

    async takeSnapshot(monitor, disks) {
      await monitor.execute("transaction", {
        actions: disks.map((disk) => ({
          type: "blockdev-snapshot-sync",
          data: {
            device: deviceOf(disk),
            "snapshot-file": disk.overlay.image.path,
            format: disk.overlay.image.format,
            mode: "existing",
          },
        })),
      });
    },

    async startMirrors(monitor, disks, bytesPerS) {
      await allSettledOrFirstError(disks.map((disk) => startMirror(monitor, disk, bytesPerS)));
    },

    async stopMirrors(monitor, disks) {
      await stopJobs(monitor, mirrorJobs(disks));
    },

    // QEMU opens what the mirror's header names when the job ends.
    attachBacking: () => Promise.resolve(),

    // QEMU closed the mirror with its job, and opens it again.
    async mirrorAgain(monitor, disks) {
      await allSettledOrFirstError(disks.map((disk) => startMirror(monitor, disk, 0)));
    },

    async finishClone(monitor, disks, decide, timeoutMs) {
      await holdJobsForClone(monitor, mirrorJobs(disks), timeoutMs);
      decide();
      await finalizeAll(monitor, mirrorJobs(disks), "clone");
    },

    // QEMU owns these nodes and closes them with their last user.
    closeSource: () => Promise.resolve(),

    commitBack: () =>
      Promise.reject(
        new QmError("QM_UNSUPPORTED", {
          what: "merging an overlay back",
          detail: " with the drive dialect: the guest goes on on the overlay",
        }),
      ),

    finishCommitBack: () => Promise.resolve(),
  };
}

/** Overlays and mirrors of all disks at once; shared by the dialects whose QEMU does not write headers. */
export async function createHeaders(
  disks: readonly SnapshotDiskPlan[],
  createImage: ImageCreator,
  signal: AbortSignal,
): Promise<void> {
  await allSettledOrFirstError(
    disks
      .filter((disk) => !disk.reuse)
      .flatMap(({ target, overlay, base, mirror, sizeBytes }) => [
        createImage(target, overlay.image, base.image, sizeBytes, signal),
        ...(mirror === undefined
          ? []
          : [createImage(target, mirror.image, mirror.backing[0].image, sizeBytes, signal)]),
      ]),
  );
}

async function startMirror(monitor: Monitor, disk: MirroredDiskPlan, bytesPerS: number): Promise<unknown> {
  return await monitor.execute("drive-mirror", {
    "job-id": disk.mirror.jobId,
    device: deviceOf(disk),
    target: disk.mirror.image.path,
    format: disk.mirror.image.format,
    mode: "existing",
    sync: "top",
    "copy-mode": "background",
    "on-source-error": "report",
    "on-target-error": "report",
    "auto-finalize": false,
    "auto-dismiss": false,
    ...(bytesPerS > 0 ? { speed: bytesPerS } : {}),
  });
}

function deviceOf(disk: SnapshotDiskPlan): string {
  if (disk.device !== "") return disk.device;
  throw new QmError("QM_UNSUPPORTED", {
    what: `disk '${disk.target}'`,
    detail: ": QEMU has no block backend name for it",
  });
}
