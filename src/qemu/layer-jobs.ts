/** Merging layers of a chain that QEMU has open, while its guest runs or stands still: docs/internals/merging.md. */
import { createHash } from "node:crypto";
import { throwIfAborted } from "../base/abort.ts";
import { isQmError, QmError } from "../base/errors.ts";
import type { ImageRef } from "../model/image.ts";
import { dismissEnded, runAdopted, statusOf, type JobProgress } from "./adopted-job.ts";
import { askBlockGraph, isJobFilter, pullFilterPrefix, type BlockAnswers } from "./block-edges.ts";
import type { JobWatch, WaitedJob } from "./block-jobs.ts";
import { qomPath } from "./disk-names.ts";
import type { ImageNode } from "./mirror-dialect/dialect.ts";
import { closeNodes, nodesOf } from "./mirror-dialect/image-nodes.ts";
import { cancelJobs, finalizeJobs, requireNone, stopJobs } from "./mirror-dialect/mirror-jobs.ts";
import type { Monitor } from "./monitor.ts";

/**
 * Common to all merges here. Each first looks: a job of this id that is under way is adopted, and a merge that is done by what the
 * graph shows is a success that only closes what is open still. So any of them may be repeated after any crash.
 */
export interface LayerJobOptions extends JobProgress {
  /** For messages. */
  readonly disk: string;
  readonly jobId: string;
  /** Cancels the job; the chain is then as it was. */
  readonly signal?: AbortSignal;
  /** Bytes per second at most; absent or 0: as fast as it goes. */
  readonly bytesPerS?: number;
}

export interface CommitNodesOptions extends LayerJobOptions {
  /** The disk's active layer. */
  readonly rootNode: string;
  /** The layer to merge, below the active one. */
  readonly top: ImageNode;
  /** Takes its data, and those of all layers between. */
  readonly base: ImageNode;
  /** What the header above names then; default: the path of `base`. */
  readonly backingFile?: string;
}

/**
 * Merges a layer below the active one into a lower one (`block-commit`).
 *
 * Holds on success: the layer above `top` stands on `base`, in QEMU and by its header; QEMU has `top` closed. On failure, and when
 * QEMU dies meanwhile: the chain is as it was and shows the same, though `base` may hold some of the data.
 *
 * Errors: `QM_JOB_FAILED` with QEMU's words, `QM_QMP_COMMAND` (refused), `QM_CANCELLED`, `QM_QMP_LOST`; `QM_UNSUPPORTED` where
 * `base` is larger than a layer that is merged (what it has behind that one's end would come to light).
 */
export async function commitNodes(monitor: Monitor, options: CommitNodesOptions): Promise<void> {
  const { disk, jobId, rootNode, top, base } = options;
  await runAdopted(monitor, {
    ...options,
    id: jobId,
    what: "merging a layer",
    isDone: async () => {
      const answers = await askBlockGraph(monitor);
      if (isMerged(answers, rootNode, [top], base)) return true;
      assertFits(answers, disk, top.node, base);
      return false;
    },
    start: () =>
      monitor.execute("block-commit", {
        "job-id": jobId,
        device: rootNode,
        "top-node": top.node,
        "base-node": base.node,
        "backing-file": options.backingFile ?? base.image.path,
        ...jobArguments(options),
      }),
    finish: (watch) => finishCopy(monitor, watch, options, base),
  });
  await closeLayer(monitor, [top]);
}

export interface CommitActiveOptions extends LayerJobOptions {
  /** QOM path of the disk's device (`GuestDisk.qdev`). */
  readonly qdev: string;
  /** The active layer. */
  readonly top: ImageNode;
  readonly base: ImageNode;
  /**
   * Makes durable that `base` is the truth from now on. Called while both hold the same and the guest's writes are held up; again
   * in a repeat when an earlier call was interrupted between this and the end. When it throws, the merge is given up.
   */
  readonly decide: () => void;
  /** An earlier call has decided. The merge is then finished whatever `signal` says, and never given up. */
  readonly decided?: boolean;
}

/** How long QEMU may take from being asked to complete until nothing is in flight. A guest that writes faster than that is copied ends it. */
const drainTimeoutMs = 30_000;

/**
 * Merges the active layer into a lower one (`block-commit`), in two phases.
 *
 * Holds on success: the guest writes to `base`; QEMU has `top` closed. On failure before `decide` has returned: the guest goes on on
 * `top`. On `QM_JOB_FAILED` after it: so it does, QEMU refused at the last moment; what was decided must be taken back.
 *
 * Errors: as {@link commitNodes}, `QM_TIMEOUT` (it did not drain), what `decide` throws. The signal is heeded until then.
 */
export async function commitActive(monitor: Monitor, given: CommitActiveOptions): Promise<void> {
  const { signal: _heeded, ...unstoppable } = given;
  const options = given.decided === true ? unstoppable : given;
  const { disk, jobId, qdev, top, base } = options;
  await runAdopted(monitor, {
    ...options,
    id: jobId,
    what: "merging the active layer",
    isDone: async () => {
      const answers = await askBlockGraph(monitor);
      const device = answers.blocks.find((block) => qomPath(block.qdev) === qdev);
      if (device?.inserted?.["node-name"] === base.node) return true;
      assertFits(answers, disk, top.node, base);
      return false;
    },
    start: () =>
      monitor.execute("block-commit", {
        "job-id": jobId,
        device: top.node,
        "base-node": base.node,
        ...jobArguments(options),
      }),
    finish: (watch) => finishActive(monitor, watch, options),
  });
  await closeLayer(monitor, [top]);
}

async function finishActive(monitor: Monitor, watch: JobWatch, options: CommitActiveOptions): Promise<void> {
  const { disk, jobId, signal, decide, decided } = options;
  const job: WaitedJob = { id: jobId, disk };
  const what = "merging the active layer";
  // One that was asked to complete must not be ended softly: it would switch the guest over.
  let giveUp = stopJobs;
  try {
    await watch.until(["ready", "pending"], { what, ...(signal === undefined ? {} : { signal }) });
    giveUp = cancelJobs;
    await hold(monitor, watch, job, what);
    throwIfAborted(signal, what);
    decide();
  } catch (error) {
    if (decided !== true) await giveUp(monitor, [job]).catch(ignoreLost);
    throw error;
  }
  requireNone(await finalizeJobs(monitor, [job]), what);
}

/**
 * Waits until the job is held. A ready one stands by for a moment whenever QEMU drains its disk, and refuses to complete then: it is
 * asked when it is ready again.
 */
async function hold(monitor: Monitor, watch: JobWatch, job: WaitedJob, what: string): Promise<void> {
  const deadlineMs = performance.now() + drainTimeoutMs;
  for (let asked = false; !asked && statusOf(watch, job) !== "pending";) {
    if (performance.now() > deadlineMs) throw new QmError("QM_TIMEOUT", { what, timeoutMs: drainTimeoutMs });
    await watch.until(["ready", "pending"], { what, timeoutMs: drainTimeoutMs });
    if (statusOf(watch, job) === "ready") asked = await isAccepted(monitor.execute("job-complete", { id: job.id }));
    if (!asked) await watch.refresh();
  }
  await watch.until(["pending"], { what, timeoutMs: drainTimeoutMs });
}

async function isAccepted(command: Promise<unknown>): Promise<boolean> {
  try {
    await command;
    return true;
  } catch (error) {
    if (isQmError(error, "QM_QMP_COMMAND")) return false;
    throw error;
  }
}

/**
 * Waits until all is copied, makes that durable, and only then lets QEMU change the chain. QEMU itself does not: it writes the new
 * backing file's name at once while its tables for the copied data are in memory still, and when it is killed then they are lost.
 */
async function finishCopy(
  monitor: Monitor,
  watch: JobWatch,
  { disk, jobId, signal }: LayerJobOptions,
  target: ImageNode,
): Promise<void> {
  const job: WaitedJob = { id: jobId, disk };
  const what = "copying its data";
  try {
    await watch.until(["pending"], { what, ...(signal === undefined ? {} : { signal }) });
    await flushNode(monitor, target.node);
  } catch (error) {
    await cancelJobs(monitor, [job]).catch(ignoreLost);
    throw error;
  }
  requireNone(await finalizeJobs(monitor, [job]), what);
}

/** There is no QMP command for it. An error is not told here: it is as if the guest's next flush of the image had failed. */
async function flushNode(monitor: Monitor, node: string): Promise<void> {
  await monitor.execute("human-monitor-command", { "command-line": `qemu-io ${node} flush` });
}

function ignoreLost(): void {
  // The connection is gone: what was caught says so, or the next command does.
}

export interface PullNodesOptions extends LayerJobOptions {
  /** A layer of the chain, active or not. */
  readonly top: ImageNode;
  /** What `top` stands on afterwards, below `between`; absent: nothing. */
  readonly newBacking?: ImageNode;
  /** What the header of `top` names then; default: the path of `newBacking`. */
  readonly backingFile?: string;
  /** The layers whose data are taken, for closing them. */
  readonly between: readonly ImageNode[];
}

/**
 * Copies into `top` what it shows of the layers between it and `newBacking` (`block-stream`).
 *
 * Holds on success: `top` stands on `newBacking`, in QEMU and by its header; QEMU has closed those of `between` that nothing else
 * needs. On failure, and when QEMU dies meanwhile: the chain is as it was, though `top` may hold some of the data. Where QEMU could
 * not write the header at the end, the job fails although the graph has changed, and a repeat succeeds: look at the header before
 * files are removed.
 *
 * Errors: as {@link commitNodes}, for `newBacking`.
 */
export async function pullNodes(monitor: Monitor, options: PullNodesOptions): Promise<void> {
  const { disk, jobId, top, newBacking, between } = options;
  await runAdopted(monitor, {
    ...options,
    id: jobId,
    what: "pulling layers",
    isDone: async () => {
      const answers = await askBlockGraph(monitor);
      if (isMerged(answers, top.node, between, newBacking)) return true;
      if (newBacking !== undefined) assertFits(answers, disk, chainFrom(answers, top.node)[1], newBacking);
      return false;
    },
    start: () =>
      monitor.execute("block-stream", {
        "job-id": jobId,
        device: top.node,
        "filter-node-name": filterName(jobId),
        ...(newBacking === undefined
          ? {}
          : { "base-node": newBacking.node, "backing-file": options.backingFile ?? newBacking.image.path }),
        ...jobArguments(options),
      }),
    finish: (watch) => finishCopy(monitor, watch, options, top),
  });
  await closeLayer(monitor, between);
}

/**
 * Closes what a merge left open when it was interrupted after the chain had changed: dismisses its job, then closes the nodes of these
 * images, found by their paths, unless something uses them. Idempotent. Call it before removing the files.
 */
export async function closeMergedLayers(
  monitor: Monitor,
  options: { readonly disk: string; readonly jobId: string; readonly images: readonly ImageRef[] },
): Promise<void> {
  const { disk, jobId, images } = options;
  await dismissEnded(monitor, { id: jobId, disk }, "merging a layer");
  const paths = new Set(images.map(({ path }) => path));
  const nodes = await monitor.execute("query-named-block-nodes", { flat: true });
  const found = nodes.filter(({ file }) => paths.has(file));
  // A format's node before that of the file below it.
  const [formats, files] = [found.filter(isFormat), found.filter((node) => !isFormat(node))];
  await closeNodes(
    monitor,
    [...formats, ...files].map((node) => node["node-name"] ?? ""),
  );
}

/** Changes the speed of a job that is under way; 0: as fast as it goes. Rejects with `QM_QMP_COMMAND` when there is none. */
export async function setLayerJobSpeed(monitor: Monitor, jobId: string, bytesPerS: number): Promise<void> {
  await monitor.execute("block-job-set-speed", { device: jobId, speed: bytesPerS });
}

function jobArguments({ bytesPerS = 0 }: LayerJobOptions) {
  return { ...(bytesPerS > 0 ? { speed: bytesPerS } : {}), "auto-finalize": false, "auto-dismiss": false };
}

/** QEMU names the filter itself otherwise, and then it is not told from a user's own. */
function filterName(jobId: string): string {
  return `${pullFilterPrefix}${createHash("sha256").update(jobId).digest("hex").slice(0, 16)}`;
}

/** Names of the chain from `root` on, without the filters of jobs; empty where QEMU does not tell. */
function chainFrom({ nodes, edges }: BlockAnswers, root: string): string[] {
  const chain: string[] = [];
  for (let name: string | undefined = root; edges !== undefined && name !== undefined && nodes.has(name);) {
    const isFilter = isJobFilter(nodes.get(name));
    if (!isFilter) chain.push(name);
    const children: ReadonlyMap<string, string> | undefined = edges.get(name);
    name = children?.get("backing") ?? (isFilter ? children?.get("file") : undefined);
  }
  return chain;
}

/** Whether the chain that starts at `root` has lost these layers and reaches `base` (absent: its end). */
function isMerged(
  answers: BlockAnswers,
  root: string,
  layers: readonly ImageNode[],
  base: ImageNode | undefined,
): boolean {
  const chain = chainFrom(answers, root);
  if (base === undefined) return chain.length === 1;
  return chain.includes(base.node) && !layers.some(({ node }) => chain.includes(node));
}

/**
 * Throws `QM_UNSUPPORTED` when one of the layers to merge, from `first` on, is smaller than `base`. What `base` has behind its end would
 * come to light: `block-commit` and `block-stream` both leave out what reads as zeros only because a layer ends there.
 */
function assertFits(answers: BlockAnswers, disk: string, first: string | undefined, base: ImageNode): void {
  const chain = chainFrom(answers, first ?? "");
  const sizeOf = (node: string): number => answers.nodes.get(node)?.image["virtual-size"] ?? 0;
  const small = chain.slice(0, chain.indexOf(base.node)).find((node) => sizeOf(node) < sizeOf(base.node));
  if (small === undefined) return;
  const path = answers.nodes.get(small)?.file ?? small;
  const detail = `: ${base.image.path} has ${sizeOf(base.node)} bytes, ${path} ${sizeOf(small)}`;
  throw new QmError("QM_UNSUPPORTED", { what: "merging a layer above a larger backing image", detail, disk });
}

function isFormat({ drv }: { readonly drv: string }): boolean {
  return drv === "qcow2" || drv === "raw";
}

/** Without those that have no node of their own for the file. */
async function closeLayer(monitor: Monitor, layers: readonly ImageNode[]): Promise<void> {
  await closeNodes(
    monitor,
    layers.flatMap(nodesOf).filter((node) => node !== ""),
  );
}
