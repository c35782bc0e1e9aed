/**
 * A copy of one disk that follows it until it is ended: a `blockdev-mirror` job in write-blocking mode, its end in two phases.
 *
 * A full copy may be write-blocking although its target has no backing image: all data of the chain is copied, so the zeros around a
 * guest write that covers part of a cluster do not stay (docs/decisions/0002-mirror-backing.md tells where they would). A shallow
 * copy is opened on what the source stands on, or on the user's own copy of that.
 */
import { allSettledOrFirstError } from "../base/settle.ts";
import { QmError, errorText, isQmError } from "../base/errors.ts";
import type { ImageRef } from "../model/image.ts";
import { reportProgress, type JobProgress } from "./adopted-job.ts";
import { watchJobs, type WaitedJob } from "./block-jobs.ts";
import { qomPath } from "./disk-names.ts";
import type { CacheMode, ImageNode, JobFailure } from "./mirror-dialect/dialect.ts";
import { closeNodes, fileNodeOptions, formatNodeOptions, nodesOf } from "./mirror-dialect/image-nodes.ts";
import { cancelJobs, finalizeJobs, holdJobs, stopJobs } from "./mirror-dialect/mirror-jobs.ts";
import type { Monitor } from "./monitor.ts";

/** Every name that the copy will ever use: all that is needed to end it. Plain JSON. */
export interface DiskCopy {
  readonly disk: string;
  /** QOM path of the disk's device. */
  readonly qdev: string;
  readonly jobId: string;
  /** What the guest writes to until the pivot. */
  readonly source: { readonly image: ImageRef; readonly node: string };
  readonly target: ImageNode;
  /** `top`: the source's active layer alone. */
  readonly sync: "full" | "top";
  /** Node that the target stands on: one of the source's, or the first of `ownBacking`. */
  readonly backingNode?: string;
  /** The user's copies of the layers below, opened for the target; nearest first. */
  readonly ownBacking: readonly ImageNode[];
  readonly cache: CacheMode;
  /** Nodes that nobody needs after the pivot, those above first. */
  readonly sourceNodes: readonly string[];
}

export interface StartCopyOptions extends JobProgress {
  readonly signal: AbortSignal;
  /** 0: no limit. */
  readonly bytesPerS: number;
}

/**
 * Opens the target and copies; resolves when the job is `ready`: from then on both sides are equal after every write. On failure some
 * of it may be there still: call `abandonCopy`. Rejects with `QM_QMP_COMMAND`, `QM_JOB_FAILED` (QEMU's words), `QM_CANCELLED`.
 */
export async function startCopy(monitor: Monitor, copy: DiskCopy, options: StartCopyOptions): Promise<void> {
  const watch = watchJobs(monitor, [jobOf(copy)]);
  const stopReporting = reportProgress(monitor, { ...jobOf(copy), ...options });
  try {
    const { onProgress: _progress, signal, bytesPerS } = options;
    await allSettledOrFirstError([
      ...openTarget(copy).map((node) => monitor.execute("blockdev-add", node)),
      monitor.execute("blockdev-mirror", {
        "job-id": copy.jobId,
        device: copy.source.node,
        target: copy.target.node,
        sync: copy.sync,
        "copy-mode": "write-blocking",
        "on-source-error": "report",
        "on-target-error": "report",
        "auto-finalize": false,
        "auto-dismiss": false,
        ...(bytesPerS > 0 ? { speed: bytesPerS } : {}),
      }),
    ]);
    await watch.refresh();
    await watch.until(["ready"], { signal, what: "copying the disk" });
  } finally {
    stopReporting();
    watch.close();
  }
}

/** From the bottom up, so that each layer finds the one below it. */
function openTarget(copy: DiskCopy) {
  const { target, ownBacking, backingNode } = copy;
  const below = ownBacking.flatMap((layer, index) => [
    formatNodeOptions(layer, copy.cache, true, ownBacking[index + 1]?.node ?? null),
    fileNodeOptions(layer, copy.cache),
  ]);
  // Without it QEMU fills a raw target with the zeros of the disk's holes.
  const cache: CacheMode = target.image.format === "raw" ? { ...copy.cache, discard: "unmap" } : copy.cache;
  return [
    formatNodeOptions(target, cache, false, backingNode ?? null),
    fileNodeOptions(target, cache),
    ...below,
  ].toReversed();
}

/** Ends the copy with the guest on its source, whatever state it is in, and closes the target. Not after `holdCopy`. Idempotent. */
export async function abandonCopy(monitor: Monitor, copy: DiskCopy): Promise<void> {
  await stopJobs(monitor, [jobOf(copy)]);
  await closeNodes(monitor, targetNodes(copy));
}

/** First phase of the pivot: drained, flushed and held. Rejects when it cannot be, or after `timeoutMs`: call `cancelHeldCopy`. */
export async function holdCopy(monitor: Monitor, copy: DiskCopy, timeoutMs: number): Promise<void> {
  await holdJobs(monitor, [jobOf(copy)], timeoutMs);
}

/** Takes `holdCopy` back and ends the copy: a job that was asked to complete cannot be ready again. Idempotent. */
export async function cancelHeldCopy(monitor: Monitor, copy: DiskCopy): Promise<void> {
  await cancelJobs(monitor, [jobOf(copy)]);
  await closeNodes(monitor, targetNodes(copy));
}

/**
 * Second phase. The guest writes to the target and the source is closed, or QEMU refused at the last moment, with its words; the guest goes on on its
 * source then, and the target is closed. Idempotent.
 */
export async function finishCopy(monitor: Monitor, copy: DiskCopy): Promise<JobFailure | undefined> {
  const failures = await finalizeJobs(monitor, [jobOf(copy)]);
  const blocks = await monitor.execute("query-block");
  const active = blocks.find(({ qdev }) => qomPath(qdev) === copy.qdev)?.inserted?.["node-name"];
  if (active === copy.target.node) {
    await closeNodes(monitor, copy.sourceNodes);
    return undefined;
  }
  await cancelHeldCopy(monitor, copy);
  return failures[0] ?? { target: copy.disk, reason: `the guest writes to ${active ?? "nothing"}` };
}

export interface CopyState {
  /** `ended`: by itself; it has to be abandoned. */
  readonly state: "running" | "ready" | "ended";
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly bytesPerS: number;
  readonly reason?: string;
}

/** How the job of this id stands. Works for commit and pull jobs too. */
export async function readJobState(monitor: Monitor, jobId: string): Promise<CopyState> {
  const job = (await monitor.execute("query-block-jobs")).find(({ device }) => device === jobId);
  if (job === undefined || job.status === "concluded") {
    return { state: "ended", doneBytes: 0, totalBytes: 0, bytesPerS: 0, reason: job?.error ?? "its job has ended" };
  }
  const { ready, offset: doneBytes, len: totalBytes, speed: bytesPerS } = job;
  return { state: ready ? "ready" : "running", doneBytes, totalBytes, bytesPerS };
}

/** 0: no limit. False: QEMU has no such job. */
export async function setJobSpeed(monitor: Monitor, jobId: string, bytesPerS: number): Promise<boolean> {
  try {
    await monitor.execute("block-job-set-speed", { device: jobId, speed: bytesPerS });
    return true;
  } catch (error) {
    if (isQmError(error, "QM_QMP_COMMAND") && error.fields["class"] === "DeviceNotActive") return false;
    throw error;
  }
}

/** `block_resize` of the image that the guest writes to. `QM_JOB_FAILED` with QEMU's words when it refuses. */
export async function resizeNode(monitor: Monitor, disk: string, node: string, sizeBytes: number): Promise<void> {
  try {
    await monitor.execute("block_resize", { "node-name": node, size: sizeBytes });
  } catch (error) {
    if (!isQmError(error, "QM_QMP_COMMAND")) throw error;
    throw new QmError("QM_JOB_FAILED", { disk, job: "resizing", reason: errorText(error) }, { cause: error });
  }
}

function jobOf({ jobId, disk }: DiskCopy): WaitedJob {
  return { id: jobId, disk };
}

function targetNodes({ target, ownBacking }: DiskCopy): string[] {
  return [target, ...ownBacking].flatMap(nodesOf);
}
