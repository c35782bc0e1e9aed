/** What is done to one disk now, and how it is ended: `virsh blockjob`. */
import type { BlockJobView } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import { planCopyAbort, planCopyPivot } from "../engine/plans/plan-block.ts";
import { defaultPrepareTimeoutMs } from "../engine/steps/storage-plan.ts";
import type { Task, TaskPlan } from "../engine/steps/task-plan.ts";
import { readJobState, setJobSpeed, type DiskCopy } from "../qemu/block-copy.ts";
import { findDisk } from "./block-disk.ts";
import { requireMonitor, type DomainEntry, type SnapshotEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import type { DomainRegistry } from "./domain-registry.ts";
import { dropEndedCopies } from "./ended-copies.ts";
import { newOperationId } from "./operation-id.ts";
import type { AnyPlan } from "./operations.ts";
import type { RunningOperation } from "./running-operation.ts";

/** Where a disk's job comes from; `jobId` is absent while no job of QEMU does the work. */
interface Work {
  readonly disk: string;
  readonly type: BlockJobView["type"];
  readonly jobId?: string;
  readonly running?: RunningOperation;
  readonly copy?: DiskCopy;
}

/** Absent: nothing is done to it. A copy that ended by itself is forgotten with this. */
export async function viewBlockJob(
  deps: LifecycleDeps,
  entry: DomainEntry,
  diskName: string,
): Promise<BlockJobView | undefined> {
  const disk = findDisk(entry, diskName).target;
  await dropEndedCopies(deps, entry);
  const work = findWork(deps, entry, disk);
  return work === undefined ? undefined : await viewWork(entry, work);
}

/**
 * Pivots to a ready copy, or gives up what is done to the disk: a copy that is ready, or the running copy, merge or pull, whose operation is
 * cancelled. A copy that is given up leaves its file; one that never was ready leaves none.
 *
 * `QM_NO_BLOCK_JOB`, `QM_MIRROR_NOT_READY`, `QM_INVALID` (a pivot of what is no copy), `QM_DOMAIN_BUSY`, and `QM_DOMAIN_MIRRORED` for a
 * mirrored snapshot: ask `mirroredOnlyDisk` first.
 */
export async function endBlockJob(
  deps: LifecycleDeps,
  entry: DomainEntry,
  diskName: string,
  how: "pivot" | "abort",
): Promise<RunningOperation> {
  const disk = findDisk(entry, diskName).target;
  await dropEndedCopies(deps, entry);
  const work = findWork(deps, entry, disk);
  if (work === undefined) throw new QmError("QM_NO_BLOCK_JOB", { domain: entry.name, disk });
  const { running, copy } = work;
  if (running !== undefined) return endRunning(entry, work, running, how);
  if (copy === undefined) {
    const snapshot = deps.registry.mirroredSnapshot(entry)?.name ?? "";
    throw new QmError("QM_DOMAIN_MIRRORED", { domain: entry.name, snapshot, what: `ending disk '${disk}' alone` });
  }
  const { state } = await readJobState(requireMonitor(entry), copy.jobId);
  if (how === "pivot" && state !== "ready") throw new QmError("QM_MIRROR_NOT_READY", { disk, state });
  const input = { id: newOperationId(), domain: { uuid: entry.uuid, name: entry.name }, copy };
  const plan = how === "pivot" ? planCopyPivot(input, defaultPrepareTimeoutMs) : planCopyAbort(input);
  return deps.operations.start(entry, "block-copy-end", plan);
}

function endRunning(
  entry: DomainEntry,
  { disk, type }: Work,
  running: RunningOperation,
  how: "pivot" | "abort",
): RunningOperation {
  if (how === "pivot") {
    if (type === "copy") throw new QmError("QM_MIRROR_NOT_READY", { disk, state: "running" });
    throw new QmError("QM_INVALID", { reason: `the ${type} of disk '${disk}' ends by itself: only a copy is pivoted` });
  }
  if (!running.kind.startsWith("block-")) {
    const operation = `${running.kind} ${running.id} works on disk '${disk}': cancel that`;
    throw new QmError("QM_DOMAIN_BUSY", { domain: entry.name, operation, id: running.id });
  }
  running.cancel();
  return running;
}

/** From now on; 0: no limit. `QM_NO_BLOCK_JOB`. */
export async function limitBlockJob(
  deps: LifecycleDeps,
  entry: DomainEntry,
  diskName: string,
  bytesPerS: number,
): Promise<BlockJobView> {
  const disk = findDisk(entry, diskName).target;
  const work = findWork(deps, entry, disk);
  if (work === undefined) throw new QmError("QM_NO_BLOCK_JOB", { domain: entry.name, disk });
  // First: a job that starts meanwhile takes it from there.
  if (work.running !== undefined) work.running.bytesPerS = bytesPerS;
  if (work.jobId !== undefined && entry.monitor !== undefined) {
    await setJobSpeed(entry.monitor, work.jobId, bytesPerS);
  }
  return { ...(await viewWork(entry, work)), bytesPerS };
}

/**
 * The mirrored snapshot whose only mirror is that of this disk: pivot or abort it in place of `endBlockJob`. Absent: the disk has no mirror.
 * `QM_DOMAIN_MIRRORED` when other disks are mirrored with it: all move together.
 */
export function mirroredOnlyDisk(
  registry: DomainRegistry,
  entry: DomainEntry,
  diskName: string,
): SnapshotEntry | undefined {
  const disk = findDisk(entry, diskName).target;
  const snapshot = registry.mirroredSnapshot(entry);
  const mirrored = snapshot?.mirrors?.plan.disks.filter(({ mirror }) => mirror !== undefined) ?? [];
  if (snapshot === undefined || !mirrored.some(({ target }) => target === disk)) return undefined;
  if (mirrored.length === 1) return snapshot;
  const what = `ending the mirror of disk '${disk}' without the others`;
  throw new QmError("QM_DOMAIN_MIRRORED", { domain: entry.name, snapshot: snapshot.name, what });
}

function findWork({ operations, store, registry }: LifecycleDeps, entry: DomainEntry, disk: string): Work | undefined {
  const running = entry.busy?.operation === undefined ? undefined : operations.find(entry.busy.operation);
  if (running !== undefined) {
    const plan = store.operations.get<AnyPlan>(running.id)?.plan;
    const work = plan === undefined ? undefined : workOf(plan, running, disk);
    if (work !== undefined) return { ...work, disk, running };
  }
  const copy = entry.run?.copies?.find((one) => one.disk === disk);
  if (copy !== undefined) return { disk, type: "copy", jobId: copy.jobId, copy };
  const mirrors = registry.mirroredSnapshot(entry)?.mirrors;
  const jobId = mirrors?.plan.disks.find(({ target }) => target === disk)?.mirror?.jobId;
  const state = mirrors?.states[disk]?.state;
  return jobId !== undefined && (state === "starting" || state === "ready")
    ? { disk, type: "mirror", jobId }
    : undefined;
}

function workOf(plan: AnyPlan, running: RunningOperation, disk: string): Pick<Work, "type" | "jobId"> | undefined {
  if (!("tasks" in plan)) {
    const jobId = plan.disks.find(({ target }) => target === disk)?.mirror?.jobId;
    return jobId === undefined ? undefined : { type: "mirror", jobId };
  }
  const task = taskOn(plan, running, disk);
  return task === undefined ? undefined : describeTask(task);
}

/** The task that is under way, when it works on this disk; otherwise the next one that will. */
function taskOn(plan: TaskPlan, running: RunningOperation, disk: string): Task | undefined {
  const from = Math.max(Number.parseInt(running.step, 10) || 0, 0);
  return plan.tasks
    .slice(from)
    .find((task) => "disk" in task && task.disk === disk && describeTask(task) !== undefined);
}

function describeTask(task: Task): Pick<Work, "type" | "jobId"> | undefined {
  switch (task.task) {
    case "merge-down":
      return { type: (task.change.images ?? []).length > 0 ? "active-commit" : "commit", jobId: task.jobId };
    case "pull-up":
      return { type: "pull", jobId: task.jobId };
    case "start-copy":
    case "hold-copy":
    case "finish-copy":
    case "end-copy":
      return { type: "copy", jobId: task.copy.jobId };
    default:
      return undefined;
  }
}

async function viewWork(entry: DomainEntry, { disk, type, jobId, running }: Work): Promise<BlockJobView> {
  const operation = running === undefined ? {} : { operation: running.id };
  if (jobId !== undefined && entry.monitor !== undefined) {
    const job = await readJobState(entry.monitor, jobId);
    // A merge is not ready for anybody: it goes on by itself.
    const state = job.state === "ready" && (type === "copy" || type === "mirror") ? "ready" : "running";
    const { doneBytes, totalBytes, bytesPerS } = job;
    if (job.state !== "ended") return { target: disk, type, state, doneBytes, totalBytes, bytesPerS, ...operation };
  }
  const progress = running?.view().progress.find(({ target }) => target === disk);
  return {
    target: disk,
    type,
    state: "running",
    doneBytes: progress?.doneBytes ?? 0,
    totalBytes: progress?.totalBytes ?? 0,
    bytesPerS: running?.bytesPerS ?? 0,
    ...operation,
  };
}
