/** What `blockcopy`, `blockcommit` and `blockpull` share: the disk, the limit, and waiting for the job. */
import type { Command } from "commander";
import { parseBytes } from "../base/units.ts";
import type { OperationView } from "../client/index.ts";
import { usageError, type CliContext } from "./context.ts";
import { exitCodeOf } from "./exit-code.ts";
import { followOperation } from "./follow-operation.ts";
import { parseBandwidth } from "./units.ts";

export interface JobOptions {
  readonly bytes?: true;
  readonly wait?: true;
  readonly verbose?: true;
  readonly timeout?: number;
}

/** Why `--async` of every block command is refused. */
export const asyncRefusal = "the daemon answers when a job has ended; Ctrl-C ends the waiting, not the work";

/** Declares the options, and the bandwidth as the next argument, so that it may be given in its place or by its name. */
export function declareJobOptions(command: Command): Command {
  return command
    .argument("[bandwidth]", "limit: MiB/s, or with a suffix B, K, M, G; 0: none")
    .option("--bytes", "a bandwidth without a suffix is in bytes per second")
    .option("--wait", "show progress until it has ended")
    .option("--verbose", "accepted for virsh's sake: --wait always shows progress")
    .option("--timeout <number>", "wait, and give the job up after this many seconds", parseTimeout);
}

export function declareDisk(command: Command): Command {
  return command
    .argument("<domain>", "name or uuid of a running domain")
    .argument("<path>", "the disk: its target, or the path of its active image");
}

/** `{ bytesPerS }`, or nothing for a bandwidth that is not given. Throws `QM_INVALID`. */
export function toSpeed(bandwidth: string | undefined, bytes: true | undefined): { readonly bytesPerS?: number } {
  if (!bandwidth) return {};
  return { bytesPerS: bytes === true ? parseBytes(bandwidth) : parseBandwidth(bandwidth) };
}

/**
 * Follows the operation when `waits` or a timeout asks for it, and cancels it when the time is over. Returns the operation when
 * it succeeded; undefined when it did not, with the exit code set, and when it was not followed: `started` was printed then.
 */
export async function finishJob(
  context: CliContext,
  begun: OperationView,
  { waits, timeout }: { readonly waits: boolean; readonly timeout: number | undefined },
  started: string,
): Promise<OperationView | undefined> {
  if (!waits && timeout === undefined) {
    if (context.json) context.out.json(begun);
    else context.out.line(started);
    return undefined;
  }
  return timeout === undefined ? followOperation(context, begun.id) : followFor(context, begun.id, timeout);
}

async function followFor(context: CliContext, id: string, timeoutS: number): Promise<OperationView | undefined> {
  let cancelled: Promise<unknown> | undefined;
  const timer = setTimeout(() => {
    // An operation that has ended meanwhile cannot be cancelled: its end is what the follower sees.
    cancelled = context.client.cancelOperation(id).catch(() => undefined);
  }, timeoutS * 1000);
  try {
    const ended = await followOperation(context, id);
    if (ended === undefined && cancelled !== undefined) context.exitCode = exitCodeOf("QM_TIMEOUT");
    return ended;
  } finally {
    clearTimeout(timer);
    await cancelled;
  }
}

function parseTimeout(text: string): number {
  const seconds = Number(text);
  // A timer takes no more milliseconds than 31 bits hold.
  if (/^[0-9]+$/.test(text) && seconds > 0 && seconds < 2 ** 31 / 1000) return seconds;
  throw usageError(`--timeout '${text}' is not a number of seconds`);
}
