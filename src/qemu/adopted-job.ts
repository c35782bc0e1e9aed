/** One job from its start to its dismissal, by whoever began it: a manager that was restarted goes on where the first one stopped. */
import { throwIfAborted } from "../base/abort.ts";
import { QmError } from "../base/errors.ts";
import { queryJobs, watchJobs, type JobStatus, type JobWatch, type WaitedJob } from "./block-jobs.ts";
import type { Monitor } from "./monitor.ts";
import { ignoreRefusal } from "./tolerate.ts";

export interface JobProgress {
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface AdoptedJob extends WaitedJob, JobProgress {
  /** What it does, for messages: "merging a layer". */
  readonly what: string;
  /** Whether the work is done, by what QEMU shows; `succeeded`: a job of this id was found that had ended well. */
  readonly isDone: (succeeded: boolean) => Promise<boolean>;
  /** Sends the command that makes the job, with `auto-dismiss` off. */
  readonly start: () => Promise<unknown>;
  /** Waits until the job has concluded, whatever it takes. Rejects when it has ended, or been ended, otherwise. */
  readonly finish: (watch: JobWatch) => Promise<void>;
  readonly signal?: AbortSignal;
}

/**
 * Adopts the job of this id if it goes on, otherwise starts it unless its work is done. A job of an earlier try that ended badly is
 * dismissed and tried again. When it resolves or rejects the job is dismissed, unless the connection was lost.
 *
 * Rejects with `QM_JOB_FAILED` (QEMU's words), `QM_QMP_COMMAND` (QEMU refused to start it), `QM_CANCELLED` (`signal`, before the
 * start) and what `finish` rejects with.
 */
export async function runAdopted(monitor: Monitor, job: AdoptedJob): Promise<void> {
  const watch = watchJobs(monitor, [job]);
  const stopReporting = reportProgress(monitor, job);
  try {
    const errors = await watch.refresh();
    const found = statusOf(watch, job);
    if (isOver(found)) {
      if (found === "concluded") await dismiss(monitor, job);
      if (await job.isDone(found === "concluded" && !errors.has(job.id))) return;
      throwIfAborted(job.signal, job.what);
      await job.start();
      await watch.refresh();
    }
    await job.finish(watch);
    const reason = (await watch.refresh()).get(job.id);
    await dismiss(monitor, job);
    if (reason !== undefined) throw new QmError("QM_JOB_FAILED", { disk: job.disk, job: job.what, reason });
  } finally {
    stopReporting();
    watch.close();
  }
}

function isOver(status: JobStatus): boolean {
  return status === "absent" || status === "null" || status === "concluded";
}

export function statusOf(watch: JobWatch, { id }: WaitedJob): JobStatus {
  return watch.states.get(id) ?? "absent";
}

async function dismiss(monitor: Monitor, { id }: WaitedJob): Promise<void> {
  await ignoreRefusal(monitor.execute("job-dismiss", { id }));
}

const endTimeoutMs = 10_000;

/** Dismisses a job that has done its work, or is about to have done it; none is no error. `QM_TIMEOUT` when it goes on. */
export async function dismissEnded(monitor: Monitor, job: WaitedJob, what: string): Promise<void> {
  const watch = watchJobs(monitor, [job]);
  try {
    await watch.refresh();
    await watch.until(["concluded", "null", "absent"], { what, timeoutMs: endTimeoutMs });
    if (statusOf(watch, job) === "concluded") await dismiss(monitor, job);
  } finally {
    watch.close();
  }
}

const progressIntervalMs = 500;

/** QEMU has no event that tells how far a job is: it is asked now and then, for people who watch, and nothing depends on it. */
export function reportProgress(monitor: Monitor, { id, onProgress }: WaitedJob & JobProgress): () => void {
  if (onProgress === undefined) return () => undefined;
  let asking = false;
  let stopped = false;
  const ask = async (): Promise<void> => {
    if (asking) return;
    asking = true;
    try {
      const job = (await queryJobs(monitor)).find((entry) => entry.id === id);
      if (job !== undefined && !stopped) onProgress(job["current-progress"], job["total-progress"]);
    } catch {
      // The wait for the job says that the connection is gone.
    } finally {
      asking = false;
    }
  };
  const timer = setInterval(() => void ask(), progressIntervalMs);
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}
