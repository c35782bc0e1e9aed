/**
 * How a QEMU takes mirrored snapshots and ends them. One implementation for each generation of commands (DESIGN: dialects);
 * all of them serve the same engine, which never sees a command name.
 */
import type { ImageRef } from "../../model/image.ts";
import type { Monitor } from "../monitor.ts";

export const dialectNames = ["blockdev", "drive", "reopen", "redhat"] as const;
export type DialectName = (typeof dialectNames)[number];

/** An image as a node of QEMU's block graph. Dialects without node names ignore `node` and `fileNode`. */
export interface ImageNode {
  readonly image: ImageRef;
  readonly node: string;
  readonly fileNode: string;
}

/** One disk of a snapshot, with every name that it will ever use: decided before the first command, and journalled. */
export interface SnapshotDiskPlan {
  /** The disk's name for people, `vda`. */
  readonly target: string;
  /** QEMU's block backend name (`query-block` `device`), empty where the disk was given by node name. */
  readonly device: string;
  /** QOM path of its device (`query-block` `qdev`). */
  readonly qdev: string;
  /** Virtual size. */
  readonly sizeBytes: number;
  /** What is active now and becomes the overlay's backing image. */
  readonly base: ImageNode;
  readonly overlay: ImageNode;
  readonly mirror?: MirrorPlan;
  /** How the disk's images are opened: overlay and mirror inherit it. */
  readonly cache: CacheMode;
  /** The overlay or the mirror existed before and is used as it is (`--reuse-external`). */
  readonly reuse: boolean;
}

export interface MirrorPlan extends ImageNode {
  readonly jobId: string;
  /** The whole chain below the mirror after the pivot, nearest first; its header names the first of them. */
  readonly backing: readonly [ImageNode, ...ImageNode[]];
  /** Whether `backing` is the base itself: then there is nothing to attach. */
  readonly sharesBase: boolean;
}

export interface CacheMode {
  readonly direct: boolean;
  readonly noFlush: boolean;
  readonly discard: "ignore" | "unmap";
  readonly detectZeroes: "off" | "on" | "unmap";
}

export type MirroredDiskPlan = SnapshotDiskPlan & { readonly mirror: MirrorPlan };

/** A job that has left the state it was waited for in: QEMU's words, by disk. */
export interface JobFailure {
  readonly target: string;
  readonly reason: string;
}

/** How the disk stands in QEMU now; by the path of the image that its device writes to, and by its job. */
export interface DiskObservation {
  readonly target: string;
  /** `unknown`: the device writes to an image that is not part of the plan, or has gone. */
  readonly active: "base" | "overlay" | "mirror" | "unknown";
  /** Status of its mirror job in QEMU's words, `ready` for a mirror that needs no job; absent: there is none. */
  readonly job?: string;
  readonly jobError?: string;
}

/** Writes an empty qcow2 into an existing empty file, for dialects whose QEMU cannot; `backing` is named in its header, not opened. */
export type ImageCreator = (
  disk: string,
  image: ImageRef,
  backing: ImageRef,
  sizeBytes: number,
  signal: AbortSignal,
) => Promise<void>;

export interface MirrorDialect {
  readonly name: DialectName;

  /**
   * Makes overlays and mirrors usable: writes the image headers into the empty files that the caller made, and opens them.
   * On failure some may exist: call `undoPrepare`. Pipelined over the disks.
   */
  prepare(monitor: Monitor, disks: readonly SnapshotDiskPlan[], signal: AbortSignal): Promise<void>;

  /** Closes what `prepare` opened and is not in use. Idempotent; what is not there is no error. */
  undoPrepare(monitor: Monitor, disks: readonly SnapshotDiskPlan[]): Promise<void>;

  /** Takes the snapshot: one `transaction`. On `QM_QMP_COMMAND` nothing changed; on `QM_QMP_LOST` look with `observe`. */
  takeSnapshot(monitor: Monitor, disks: readonly SnapshotDiskPlan[]): Promise<void>;

  /** Starts a mirror for each disk (nothing to do where the transaction did it). Rejects with the first refusal; others may run. */
  startMirrors(monitor: Monitor, disks: readonly MirroredDiskPlan[], bytesPerS: number): Promise<void>;

  /** Waits until every mirror is ready. Rejects with `QM_JOB_FAILED` when one ends instead. */
  awaitReady(monitor: Monitor, disks: readonly MirroredDiskPlan[], signal: AbortSignal): Promise<void>;

  /** Rejects with `QM_JOB_FAILED` as soon as a mirror that is ready ends, with `QM_CANCELLED` when `signal` aborts. Absent: QEMU does not tell. */
  awaitFailure?(monitor: Monitor, disks: readonly MirroredDiskPlan[], signal: AbortSignal): Promise<void>;

  /** Gives the mirrors up: the guest is on its source afterwards, the jobs are gone, the mirrors' nodes closed. Idempotent. */
  stopMirrors(monitor: Monitor, disks: readonly MirroredDiskPlan[]): Promise<void>;

  /** Opens the finished backing images below the mirrors. The mirrors go on. */
  attachBacking(monitor: Monitor, disks: readonly MirroredDiskPlan[]): Promise<void>;

  /**
   * First phase of the pivot: every mirror drained, flushed and held (`pending`). Rejects when one cannot, or after
   * `timeoutMs`; the caller then calls `cancelPivot`.
   */
  preparePivot(monitor: Monitor, disks: readonly MirroredDiskPlan[], timeoutMs: number): Promise<void>;

  /** Takes `preparePivot` back: like `stopMirrors`, but the mirrors' nodes stay. */
  cancelPivot(monitor: Monitor, disks: readonly MirroredDiskPlan[]): Promise<void>;

  /** Second phase, after the decision is on disk. Returns the disks that QEMU left on their source, with its words. */
  finishPivot(monitor: Monitor, disks: readonly MirroredDiskPlan[]): Promise<readonly JobFailure[]>;

  /**
   * Starts the mirrors anew over mirrors that are open still, for disks that `finishPivot` left on their source: all of the overlay is
   * copied once more. Absent: this QEMU copies nothing that was written before.
   */
  mirrorAgain?(monitor: Monitor, disks: readonly MirroredDiskPlan[]): Promise<void>;

  /** Mirrors that ended by themselves, anew over their files: all of the overlay is copied once more. Absent: as `mirrorAgain`. */
  restartMirrors?(monitor: Monitor, disks: readonly MirroredDiskPlan[]): Promise<void>;

  /**
   * Ends all mirrors at one instant with the guest on its source: the mirrors are then a point-in-time copy, closed.
   * Two-phase as the pivot is: `decide` is called when all are held, and may throw to give the clone up.
   */
  finishClone(
    monitor: Monitor,
    disks: readonly MirroredDiskPlan[],
    decide: () => void,
    timeoutMs: number,
  ): Promise<void>;

  /** Closes every node of the source chain that QEMU still holds open after a pivot. Idempotent. */
  closeSource(monitor: Monitor, disks: readonly MirroredDiskPlan[], layers: readonly string[]): Promise<void>;

  /** Merges the overlays back into their bases, all or none, and closes them: the domain's disks are as before the snapshot. */
  commitBack(
    monitor: Monitor,
    disks: readonly SnapshotDiskPlan[],
    decide: () => void,
    timeoutMs: number,
  ): Promise<void>;

  /** Goes on with a `commitBack` that was decided and then interrupted. Idempotent. */
  finishCommitBack(monitor: Monitor, disks: readonly SnapshotDiskPlan[]): Promise<void>;

  observe(monitor: Monitor, disks: readonly SnapshotDiskPlan[]): Promise<readonly DiskObservation[]>;
}
