/**
 * Waiting for QEMU's jobs, on events. Watch first, then act, then `refresh` once: the gap between the two is closed.
 * States are QAPI's `JobStatus`; jobs are made with `auto-finalize=false`, `auto-dismiss=false`.
 */
import { QmError, isQmError } from "../base/errors.ts";
import type { Monitor } from "./monitor.ts";

/** `absent`: QEMU does not know a job of this id (yet, or any more). */
export type JobStatus = JobInfo["status"] | "absent";
type JobInfo = Awaited<ReturnType<typeof queryJobs>>[number];

export interface WaitedJob {
  readonly id: string;
  /** The disk it works for, for messages. */
  readonly disk: string;
}

export interface WaitOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** What is waited for, for messages: "mirror". */
  readonly what: string;
  /** Of the watched jobs those that count; absent: all. */
  readonly only?: readonly WaitedJob[];
}

export interface JobWatch {
  readonly states: ReadonlyMap<string, JobStatus>;
  /** Reads all states once (`query-jobs`). Returns QEMU's error texts of jobs that failed. */
  refresh(): Promise<ReadonlyMap<string, string>>;
  /**
   * Resolves when every job is in one of `wanted`. Rejects with `QM_JOB_FAILED` (with QEMU's words) as soon as one can
   * no longer get there, `QM_TIMEOUT`, `QM_CANCELLED`, or `QM_QMP_LOST` when the connection ends.
   */
  until(wanted: readonly JobStatus[], options: WaitOptions): Promise<void>;
  close(): void;
}

const ended: ReadonlySet<JobStatus> = new Set(["concluded", "null", "absent"]);

export function watchJobs(monitor: Monitor, jobs: readonly WaitedJob[]): JobWatch {
  const states = new Map<string, JobStatus>(jobs.map((job) => [job.id, "absent"]));
  const waiters = new Set<() => void>();
  /** How many changes of each job were heard of. */
  const changes = new Map<string, number>();
  const stop = monitor.onEvent((event) => {
    if (event.event !== "JOB_STATUS_CHANGE" || !states.has(event.data.id)) return;
    states.set(event.data.id, event.data.status);
    changes.set(event.data.id, (changes.get(event.data.id) ?? 0) + 1);
    for (const check of waiters) check();
  });

  const refresh = async (): Promise<ReadonlyMap<string, string>> => {
    const before = new Map(changes);
    const found = new Map((await queryJobs(monitor)).map((job) => [job.id, job]));
    const errors = new Map<string, string>();
    for (const id of states.keys()) {
      const job = found.get(id);
      // An event heard meanwhile is at least as new as the answer: events are handled at once, answers a turn later.
      if (changes.get(id) === before.get(id)) states.set(id, job?.status ?? "absent");
      if (job?.error !== undefined) errors.set(id, job.error);
    }
    for (const check of waiters) check();
    return errors;
  };

  const until = async (wanted: readonly JobStatus[], options: WaitOptions): Promise<void> => {
    const { only = jobs } = options;
    try {
      await waitFor(monitor, waiters, options, () => {
        const failed = only.find(({ id }) => !wanted.includes(state(id)) && ended.has(state(id)));
        if (failed !== undefined) throw jobFailure(failed, options.what, `it is ${state(failed.id)}`);
        return only.every(({ id }) => wanted.includes(state(id)));
      });
    } catch (error) {
      throw isQmError(error, "QM_JOB_FAILED") ? await explain(error, options.what) : error;
    }
  };
  const state = (id: string): JobStatus => states.get(id) ?? "absent";
  /** The event that ended a job does not say why; QEMU keeps the reason until the job is dismissed. */
  const explain = async (error: QmError, what: string): Promise<unknown> => {
    const errors = await refresh().catch(() => new Map<string, string>());
    const failed = jobs.find((job) => errors.has(job.id));
    return failed === undefined ? error : jobFailure(failed, what, errors.get(failed.id) ?? "");
  };

  return { states, refresh, until, close: stop };
}

export async function queryJobs(monitor: Monitor) {
  return await monitor.execute("query-jobs");
}

function jobFailure(job: WaitedJob, what: string, reason: string): QmError<"QM_JOB_FAILED"> {
  return new QmError("QM_JOB_FAILED", { disk: job.disk, job: what, reason });
}

/** Runs `check` now and after every change until it returns true or throws; ends early with the connection, signal or time. */
function waitFor(
  monitor: Monitor,
  waiters: Set<() => void>,
  options: WaitOptions,
  check: () => boolean,
): Promise<void> {
  const { signal, timeoutMs, what } = options;
  return new Promise((resolve, reject) => {
    const settle = (error?: unknown): void => {
      waiters.delete(attempt);
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
      if (error === undefined) resolve();
      else reject(error instanceof Error ? error : new Error("wait failed", { cause: error }));
    };
    const attempt = (): void => {
      try {
        if (check()) settle();
      } catch (error) {
        settle(error);
      }
    };
    const cancel = (): void => settle(new QmError("QM_CANCELLED", { what: `waiting for ${what}` }));
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => settle(new QmError("QM_TIMEOUT", { what, timeoutMs })), timeoutMs);
    waiters.add(attempt);
    signal?.addEventListener("abort", cancel, { once: true });
    void monitor.closed.then((error) => settle(error ?? new QmError("QM_QMP_LOST", { command: what })));
    if (signal?.aborted === true) cancel();
    else attempt();
  });
}
