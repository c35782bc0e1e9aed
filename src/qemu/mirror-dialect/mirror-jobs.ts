/** What the dialects with block jobs share: the two phases of the pivot, the clone and the abort. */
import { withLimits } from "../../base/abort.ts";
import { allSettledOrFirstError } from "../../base/settle.ts";
import { QmError, errorText, isQmError } from "../../base/errors.ts";
import { watchJobs, type JobStatus, type WaitedJob } from "../block-jobs.ts";
import type { Monitor } from "../monitor.ts";
import { ignoreRefusal } from "../tolerate.ts";
import type { JobFailure, MirrorDialect, MirroredDiskPlan } from "./dialect.ts";
import { observeDisks } from "./observe.ts";

export function mirrorJobs(disks: readonly MirroredDiskPlan[]): WaitedJob[] {
  return disks.map((disk) => ({ id: disk.mirror.jobId, disk: disk.target }));
}

async function awaitMirrors(
  monitor: Monitor,
  disks: readonly MirroredDiskPlan[],
  signal: AbortSignal,
  wanted: "ready" | "pending",
): Promise<void> {
  const watch = watchJobs(monitor, mirrorJobs(disks));
  try {
    await watch.refresh();
    await watch.until([wanted], { signal, what: "mirror" });
  } finally {
    watch.close();
  }
}

/** Sends `job-complete` to all and waits until all are `pending`: drained, flushed and held. */
export async function holdJobs(monitor: Monitor, jobs: readonly WaitedJob[], timeoutMs: number): Promise<void> {
  await moveJobs(monitor, jobs, ["pending"], timeoutMs, (id) => monitor.execute("job-complete", { id }));
}

/** The same for ending without a pivot: a ready mirror that is cancelled softly completes and leaves a point-in-time copy. */
export async function holdJobsForClone(monitor: Monitor, jobs: readonly WaitedJob[], timeoutMs: number): Promise<void> {
  await moveJobs(monitor, jobs, ["pending"], timeoutMs, (id) => monitor.execute("block-job-cancel", { device: id }));
}

async function moveJobs(
  monitor: Monitor,
  jobs: readonly WaitedJob[],
  wanted: readonly JobStatus[],
  timeoutMs: number,
  act: (id: string) => Promise<unknown>,
): Promise<void> {
  const what = "draining the mirrors";
  const watch = watchJobs(monitor, jobs);
  const over = new AbortController();
  const move = async (): Promise<void> => {
    const answers = Promise.allSettled(jobs.map(({ id }) => act(id)));
    const errors = await watch.refresh();
    for (const [index, answer] of (await answers).entries()) {
      const job = jobs[index];
      if (job === undefined || answer.status === "fulfilled") continue;
      const reason = errors.get(job.id);
      if (reason !== undefined)
        throw new QmError("QM_MIRROR_BROKEN", { disk: job.disk, reason }, { cause: answer.reason });
      // A job that an earlier try has brought there refuses a second time.
      if (!wanted.includes(watch.states.get(job.id) ?? "absent")) throw answer.reason;
    }
    await watch.until(wanted, { what, signal: over.signal });
  };
  try {
    // The time runs for the answers too: a QEMU that hangs gives none.
    await withLimits(what, move(), { timeoutMs });
  } finally {
    over.abort();
    watch.close();
  }
}

/** How long mirrors may take to drain before they are cancelled by force. */
const drainTimeoutMs = 2000;

/**
 * Ends mirrors with the guest on its source, whatever state they are in; they are gone afterwards. Idempotent.
 *
 * A ready mirror is ended softly: it drains, and is finalized without a pivot. Cancelling it by force while the guest writes
 * corrupts the heap of QEMU 7.2 now and then and kills the guest with it (docs/internals/qemu-defects.md). Never call it for jobs that
 * were asked to complete: a drained job would pivot when it is finalized. `cancelJobs` is for those.
 */
export async function stopJobs(monitor: Monitor, jobs: readonly WaitedJob[]): Promise<void> {
  const watch = watchJobs(monitor, jobs);
  try {
    await watch.refresh();
    const only = jobs.filter(({ id }) => watch.states.get(id) === "ready");
    await allSettledOrFirstError(
      only.map(({ id }) => ignoreRefusal(monitor.execute("block-job-cancel", { device: id }))),
    );
    const draining = { what: "draining the mirrors", timeoutMs: drainTimeoutMs, only };
    await watch.until(["pending", "concluded", "null", "absent"], draining).catch(ignoreTimeout);
    const pending = only.filter(({ id }) => watch.states.get(id) === "pending");
    await allSettledOrFirstError(pending.map(({ id }) => ignoreRefusal(monitor.execute("job-finalize", { id }))));
    // One that QEMU would not finalize is held still: it is cancelled with the others below.
    await watch.until(["concluded", "null", "absent"], { ...draining, only: pending }).catch(ignoreTimeout);
  } finally {
    watch.close();
  }
  await cancelJobs(monitor, jobs);
}

function ignoreTimeout(error: unknown): void {
  if (!isQmError(error, "QM_TIMEOUT")) throw error;
}

/** Forced: the guest goes on on its source whatever state the job was in. The jobs are gone afterwards. Idempotent. */
export async function cancelJobs(monitor: Monitor, jobs: readonly WaitedJob[]): Promise<void> {
  const watch = watchJobs(monitor, jobs);
  try {
    await watch.refresh();
    const present = jobs.filter(({ id }) => watch.states.get(id) !== "absent");
    await allSettledOrFirstError(present.map(({ id }) => ignoreRefusal(monitor.execute("job-cancel", { id }))));
    await watch.until(["concluded", "null", "absent"], { what: "cancelling the mirrors" });
    await allSettledOrFirstError(present.map(({ id }) => ignoreRefusal(monitor.execute("job-dismiss", { id }))));
  } finally {
    watch.close();
  }
}

/** How often a held job is asked to finish before it is given up: while it is held, its guest disk stands still. */
const finalizeTries = 3;

/** A job that is not at its end: finalizing cannot be what it waits for. */
const unfinished: ReadonlySet<JobStatus> = new Set(["undefined", "created", "running", "paused", "ready", "standby"]);

/**
 * Sends `job-finalize` to all, waits until all have concluded, dismisses them. Returns the jobs that QEMU failed at the last
 * moment, or refused to finish and that were cancelled (their disks go on on their source), and those that are not at their end, which go
 * on. Jobs that are not there any more were finalized before.
 */
export async function finalizeJobs(monitor: Monitor, jobs: readonly WaitedJob[]): Promise<JobFailure[]> {
  const failures = new Map<string, string>();
  const watch = watchJobs(monitor, jobs);
  try {
    await watch.refresh();
    for (const [id, status] of watch.states) if (unfinished.has(status)) failures.set(id, `its job is ${status}`);
    const present = jobs.filter(({ id }) => !failures.has(id) && watch.states.get(id) !== "absent");
    let held = present.filter(({ id }) => watch.states.get(id) === "pending");
    for (let tries = 0; held.length > 0 && tries < finalizeTries; tries++) {
      held = await refusedOf(held, (id) => monitor.execute("job-finalize", { id }), failures);
    }
    await allSettledOrFirstError(held.map(({ id }) => ignoreRefusal(monitor.execute("job-cancel", { id }))));
    await watch.until(["concluded", "null", "absent"], { what: "finishing the mirrors", only: present });
    const [errors] = await Promise.all([
      watch.refresh(),
      allSettledOrFirstError(present.map(({ id }) => ignoreRefusal(monitor.execute("job-dismiss", { id })))),
    ]);
    for (const [id, reason] of errors) failures.set(id, failures.get(id) ?? reason);
  } finally {
    watch.close();
  }
  return jobs.flatMap(({ id, disk }) => {
    const reason = failures.get(id);
    return reason === undefined ? [] : [{ target: disk, reason }];
  });
}

/** Those for which QEMU refused `act`. Its first words for each are kept in `reasons`, and dropped when it agrees at last. */
async function refusedOf(
  jobs: readonly WaitedJob[],
  act: (id: string) => Promise<unknown>,
  reasons: Map<string, string>,
): Promise<WaitedJob[]> {
  const answers = await Promise.allSettled(jobs.map(({ id }) => act(id)));
  return jobs.filter(({ id }, index) => {
    const answer = answers[index];
    if (answer?.status !== "rejected") {
      reasons.delete(id);
      return false;
    }
    if (!isQmError(answer.reason, "QM_QMP_COMMAND")) throw answer.reason;
    reasons.set(id, reasons.get(id) ?? errorText(answer.reason));
    return true;
  });
}

/** For jobs that all have to succeed now: `QM_JOB_FAILED` with the first one's reason. */
export async function finalizeAll(monitor: Monitor, jobs: readonly WaitedJob[], what: string): Promise<void> {
  requireNone(await finalizeJobs(monitor, jobs), what);
}

/** `QM_JOB_FAILED` with the first one's reason, if there is one. */
export function requireNone([failure]: readonly JobFailure[], what: string): void {
  if (failure === undefined) return;
  throw new QmError("QM_JOB_FAILED", { disk: failure.target, job: what, reason: failure.reason });
}

/** The part of a dialect that is the same for all QEMUs with these job commands. */
export const jobPhases: Pick<
  MirrorDialect,
  "awaitReady" | "awaitFailure" | "preparePivot" | "cancelPivot" | "finishPivot" | "observe"
> = {
  awaitReady: (monitor, disks, signal) => awaitMirrors(monitor, disks, signal, "ready"),
  // Nobody holds them meanwhile: what ends this wait is a failure.
  awaitFailure: (monitor, disks, signal) => awaitMirrors(monitor, disks, signal, "pending"),
  preparePivot: (monitor, disks, timeoutMs) => holdJobs(monitor, mirrorJobs(disks), timeoutMs),
  cancelPivot: (monitor, disks) => cancelJobs(monitor, mirrorJobs(disks)),
  finishPivot: (monitor, disks) => finalizeJobs(monitor, mirrorJobs(disks)),
  observe: observeDisks,
};
