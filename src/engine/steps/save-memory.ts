/** The guest's memory into a file that the operation makes, and back to where it was. */
import { rm } from "node:fs/promises";
import { isQmError } from "../../base/errors.ts";
import { removeFile } from "../../image/files.ts";
import { abandonSave, saveMemory } from "../../qemu/memory-stream.ts";
import type { Monitor } from "../../qemu/monitor.ts";
import type { Machine } from "./machine.ts";

export interface MemoryToSave {
  readonly path: string;
  /** The domain's XML, for the file. */
  readonly xml: string;
  /** The guest runs meanwhile, until the last moment. */
  readonly live: boolean;
  readonly wasRunning: boolean;
  /** What the file says that the guest does once it is loaded; absent: what it does now. */
  readonly afterwards?: "running" | "paused";
}

export interface SaveContext {
  readonly machine: Machine;
  readonly journal: { record(kind: string, data: unknown): void; has(kind: string, data?: unknown): boolean };
  readonly signal: AbortSignal;
  readonly reportProgress: (disk: string, doneBytes: number, totalBytes: number) => void;
}

/** The guest stands still at the saved instant when this resolves, until `resume`. */
export async function saveMemoryFile(monitor: Monitor, memory: MemoryToSave, context: SaveContext): Promise<void> {
  const { path, xml, live, afterwards } = memory;
  try {
    await saveMemory(monitor, {
      path,
      xml,
      live,
      ...(afterwards === undefined ? {} : { afterwards }),
      socketPath: socketOf(context.machine),
      signal: context.signal,
      onProgress: (done, total) => context.reportProgress("memory", done, total),
    });
  } catch (error) {
    if (isQmError(error, "QM_FILE_EXISTS")) context.journal.record("not-ours", path);
    throw error;
  }
}

/** The guest runs on if it did before, and the file is gone. */
export async function undoSave(
  { path, wasRunning }: MemoryToSave,
  { machine, journal }: Pick<SaveContext, "machine" | "journal">,
): Promise<void> {
  const monitor = machine.monitor();
  if (monitor !== undefined) await abandonSave(monitor, { wasRunning, socketPath: socketOf(machine) });
  // Of a daemon that was killed while the memory came through it.
  await rm(socketOf(machine), { force: true });
  if (!journal.has("not-ours", path)) await removeFile(path);
}

/** Lets the guest run; no error where it does already, or where QEMU is gone. */
export async function resume(machine: Machine): Promise<void> {
  const monitor = machine.monitor();
  if (monitor === undefined) return;
  if (!(await monitor.execute("query-status")).running) await monitor.execute("cont");
}

function socketOf(machine: Machine): string {
  return machine.socketPath("memory.sock");
}
