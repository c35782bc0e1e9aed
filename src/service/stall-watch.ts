/**
 * Tells what holds an operation up: a QEMU that does not answer, a mirror or copy that its guest outruns. QEMU has no event for either:
 * it is asked now and then. Nothing but what people see depends on it.
 */
import type { OperationStall, SlowJob } from "../api-types/index.ts";
import { readGuestDisks } from "../qemu/block-graph.ts";
import { commandsInFlight } from "../qemu/commands-in-flight.ts";
import { qomPath } from "../qemu/disk-names.ts";
import { isConnected, type Monitor } from "../qemu/monitor.ts";

const lookIntervalMs = 1000;
/** A command that is not answered for this long is told of. QEMU's own slowest, opening an image on a sleeping disk, take less. */
export const slowCommandMs = 5000;
/** A job that has as much left as this long ago does not converge. */
export const notConvergingAfterMs = 5000;

export interface StallWatchOptions {
  /** Absent: QEMU does not run. */
  readonly monitor: () => Monitor | undefined;
  /** The operation's plan: whatever it names is its own. */
  readonly plan: PlanNames;
  readonly onStall: (stall: OperationStall | undefined) => void;
  /** Of jobs that are not ready. */
  readonly onProgress: (target: string, doneBytes: number, totalBytes: number) => void;
}

type PlanNames = { readonly id: string } & (
  { readonly disks: readonly { readonly target: string }[] } | { readonly tasks: readonly object[] }
);

interface Sample {
  readonly atMs: number;
  readonly leftBytes: number;
  readonly doneBytes: number;
  readonly writtenBytes: number;
}

/** Returns the function that ends it. */
export function watchForStalls(options: StallWatchOptions): () => void {
  const { plan, onStall } = options;
  const samples = new Map<string, Sample[]>();
  let shown: OperationStall | undefined;
  let looking = false;
  let ended = false;
  const show = (stall: OperationStall | undefined): void => {
    if (ended || (stall === undefined && shown === undefined)) return;
    // Since when it is so does not change with its rates.
    shown = stall === undefined || stall.kind !== shown?.kind ? stall : { ...stall, since: shown.since };
    onStall(shown);
  };
  const look = async (): Promise<void> => {
    const monitor = options.monitor();
    if (monitor === undefined || !isConnected(monitor)) return show(undefined);
    const silence = describeSilence(monitor, plan);
    if (silence !== undefined || looking) return silence === undefined ? undefined : show(silence);
    looking = true;
    try {
      show(await findSlowJobs(monitor, options, samples));
    } catch {
      // The operation itself finds out that the connection is gone.
    } finally {
      looking = false;
    }
  };
  const timer = setInterval(() => void look(), lookIntervalMs);
  return () => {
    ended = true;
    clearInterval(timer);
  };
}

function describeSilence(monitor: Monitor, plan: PlanNames): OperationStall | undefined {
  const late = commandsInFlight(monitor)
    .filter(({ sinceMs }) => Date.now() - sinceMs >= slowCommandMs)
    .map((sent) => ({ ...sent, target: findDisk(plan, stringsOf(sent.args)) }));
  // One of the operation's own says more than a question that waits behind it or was asked by this watch.
  const told = late.find((sent) => sent.target !== undefined) ?? late[0];
  if (told === undefined) return undefined;
  const { command, sinceMs, target } = told;
  const since = new Date(sinceMs).toISOString();
  const about = target === undefined ? "" : ` for disk '${target}'`;
  const text = `QEMU has not answered ${command}${about} since ${since}; it hangs or was stopped`;
  return { kind: "no-answer", command, ...(target === undefined ? {} : { target }), since, text };
}

async function findSlowJobs(
  monitor: Monitor,
  { plan, onProgress }: StallWatchOptions,
  samples: Map<string, Sample[]>,
): Promise<OperationStall | undefined> {
  const found = (await monitor.execute("query-block-jobs")).flatMap((job) => {
    const target = findDisk(plan, [job.device]);
    // Before QEMU has looked through the image it does not know how much there is to do.
    return job.ready || target === undefined || job.len === 0 ? [] : [{ target, job }];
  });
  for (const id of samples.keys()) if (!found.some(({ job }) => job.device === id)) samples.delete(id);
  if (found.length === 0) return undefined;
  const written = await readWrittenBytes(monitor);
  const slow: SlowJob[] = [];
  for (const { target, job } of found) {
    const leftBytes = job.len - job.offset;
    onProgress(target, job.offset, job.len);
    const sample = {
      atMs: performance.now(),
      leftBytes,
      doneBytes: job.offset,
      writtenBytes: written.get(target) ?? 0,
    };
    const seen = [...(samples.get(job.device) ?? []), sample];
    // The youngest that is old enough, and all after it.
    const start = seen.findLastIndex(({ atMs }) => sample.atMs - atMs >= notConvergingAfterMs);
    samples.set(job.device, seen.slice(Math.max(0, start)));
    const before = seen[start];
    // None left is no end either: the job may wait for its share of the speed.
    if (before === undefined || leftBytes < before.leftBytes) continue;
    const rate = (bytes: number): number => Math.round((bytes * 1000) / (sample.atMs - before.atMs));
    slow.push({
      target,
      leftBytes,
      jobBytesPerS: rate(sample.doneBytes - before.doneBytes),
      guestWriteBytesPerS: rate(sample.writtenBytes - before.writtenBytes),
    });
  }
  if (slow.length === 0) return undefined;
  const words = slow.map(
    (job) =>
      `disk '${job.target}': ${job.leftBytes} bytes left, ${job.jobBytesPerS} bytes/s are copied, its guest writes ${job.guestWriteBytesPerS} bytes/s`,
  );
  const text = `not converging: ${words.join("; ")}`;
  return {
    kind: "not-converging",
    disks: slow,
    since: new Date(Date.now() - notConvergingAfterMs).toISOString(),
    text,
  };
}

/** What the guest has written to each disk since QEMU started. */
async function readWrittenBytes(monitor: Monitor): Promise<Map<string, number>> {
  const [disks, stats] = await Promise.all([readGuestDisks(monitor), monitor.execute("query-blockstats")]);
  const written = new Map(stats.map((entry) => [qomPath(entry.qdev), entry.stats.wr_bytes]));
  return new Map(disks.map(({ target, qdev }) => [target, written.get(qdev) ?? 0]));
}

/** The disk whose part of the plan one of these names stands in. */
function findDisk(plan: PlanNames, names: readonly string[]): string | undefined {
  const parts = "tasks" in plan ? plan.tasks : plan.disks;
  const ours = names.map((name) => name.replace(/^(?:commit|create)-/, "")).filter((name) => name.length > 3);
  const part = parts.find((candidate) => {
    const text = JSON.stringify(candidate);
    return ours.some((name) => text.includes(JSON.stringify(name)));
  });
  if (part === undefined) return undefined;
  if ("target" in part) return String(part.target);
  return "disk" in part ? String(part.disk) : undefined;
}

function stringsOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(stringsOf) : [];
}
