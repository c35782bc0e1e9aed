/** Which process a QEMU is, so that it can be told from any other after qmirror was restarted. */
import { readFileSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";

export interface QemuIdentity {
  readonly pid: number;
  /** Start time of the process in clock ticks since boot, as /proc has it (field 22): a pid used again has another one. */
  readonly startTimeTicks: string;
  readonly qmpSocket: string;
  readonly uuid: string;
}

/** Start time of a process; undefined when there is none with this pid, or only its remains (a zombie). Reads /proc. */
export function readStartTime(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The second field is the process's name in parentheses, and may hold anything, parentheses too.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, startTimeTicks] = [fields[0], fields[22 - 3]];
  return state === "X" || (state === "Z" && !hasOtherThreads(pid)) ? undefined : startTimeTicks;
}

/** While they end, they hold the image files and their locks, although the process shows as a zombie already. */
function hasOtherThreads(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return false;
  }
}

/** Whether this very process still runs. */
export function isAlive(identity: QemuIdentity): boolean {
  return readStartTime(identity.pid) === identity.startTimeTicks;
}

/**
 * The QEMU that wrote `pidFile` and was started with `uuid`, when it lives: for the case that qmirror died before it recorded the
 * identity of a QEMU that it had started.
 */
export async function identifyByPidFile(
  paths: { readonly pidFile: string; readonly qmpSocket: string },
  uuid: string,
): Promise<QemuIdentity | undefined> {
  const pid = Number.parseInt(await readFile(paths.pidFile, "latin1").catch(() => ""), 10);
  if (!Number.isInteger(pid)) return undefined;
  const startTimeTicks = readStartTime(pid);
  const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  const isOurs = commandLine.includes(`\0-uuid\0${uuid}\0`);
  return startTimeTicks === undefined || !isOurs
    ? undefined
    : { pid, startTimeTicks, qmpSocket: paths.qmpSocket, uuid };
}

/** Whether it was stopped by a signal or a debugger: it answers nothing until it is let go on. */
export function isStopped({ pid }: QemuIdentity): boolean {
  try {
    return /^State:\t[Tt]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return false;
  }
}
