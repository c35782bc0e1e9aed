/** What a QEMU of 2012 tells about mirrored disks: `query-status`, `query-block` and `query-block-jobs`, in one pipeline. */
import type { DiskObservation, SnapshotDiskPlan } from "./dialect.ts";
import type { OldBlockInfo, OldBlockJob, OldMonitor } from "./reopen-commands.ts";

/** `copying`: the mirror lacks writes that the source has. */
export type OldMirrorState = "none" | "copying" | "ready";

export interface DiskView<D extends SnapshotDiskPlan> {
  readonly disk: D;
  /** As QEMU names it; absent: the device has no medium, or is gone. */
  readonly file: string | undefined;
  readonly active: DiskObservation["active"];
  readonly mirror: OldMirrorState;
  /** The mirror is the `blkmirror` driver: written with the source from its start on, but nothing older is copied. */
  readonly byDriver: boolean;
}

export interface View<D extends SnapshotDiskPlan> {
  readonly running: boolean;
  readonly disks: readonly DiskView<D>[];
}

/**
 * Two generations exist. The first put a driver above the overlay, whose file name is `blkmirror:FORMAT:TARGET`; the second
 * (what RHEL shipped) runs a job of type `mirror` that copies what the guest has dirtied; it is in sync when `offset` is `len`.
 */
export async function lookAtDisks<D extends SnapshotDiskPlan>(
  monitor: OldMonitor,
  disks: readonly D[],
): Promise<View<D>> {
  const [status, blocks, jobs] = await Promise.all([
    monitor.execute("query-status"),
    monitor.execute("query-block"),
    monitor.execute("query-block-jobs"),
  ]);
  return { running: status.running, disks: disks.map((disk) => viewDisk(disk, blocks, jobs)) };
}

function viewDisk<D extends SnapshotDiskPlan>(
  disk: D,
  blocks: readonly OldBlockInfo[],
  jobs: readonly OldBlockJob[],
): DiskView<D> {
  const file = blocks.find((block) => block.device === disk.device)?.inserted?.file;
  const { mirror } = disk;
  if (mirror !== undefined && file === `blkmirror:${mirror.image.format}:${mirror.image.path}`)
    return { disk, file, active: "overlay", mirror: "ready", byDriver: true };
  const job = jobs.find((entry) => entry.device === disk.device && entry.type === "mirror");
  return { disk, file, active: activeImage(disk, file), mirror: jobState(job), byDriver: false };
}

function jobState(job: OldBlockJob | undefined): OldMirrorState {
  if (job === undefined) return "none";
  return job.len > 0 && job.offset === job.len ? "ready" : "copying";
}

function activeImage({ mirror, overlay, base }: SnapshotDiskPlan, file: string | undefined): DiskObservation["active"] {
  if (file === undefined) return "unknown";
  if (file === mirror?.image.path) return "mirror";
  if (file === overlay.image.path) return "overlay";
  return file === base.image.path ? "base" : "unknown";
}

export function isOnSource({ active, mirror }: DiskView<SnapshotDiskPlan>): boolean {
  return (active === "overlay" || active === "base") && mirror === "none";
}

/** Somebody else has put another image there: not ours to close. */
export function isForeign({ active, file }: DiskView<SnapshotDiskPlan>): boolean {
  return active === "unknown" && file !== undefined;
}

export function endedReason({ active, file }: DiskView<SnapshotDiskPlan>): string {
  return active === "overlay" ? "QEMU has ended it" : `QEMU has ${file ?? "no image"} open`;
}
