/** A file system that is full: which file could not grow, and how much room there is. QEMU and its tools say neither. */
import { isQmError, QmError } from "../../base/errors.ts";
import { freeBytes, saysFull } from "../../image/space.ts";
import type { StepName, StoragePlan } from "./storage-plan.ts";
import type { Task } from "./task-plan.ts";

export interface WrittenFile {
  readonly disk: string;
  readonly path: string;
}

/**
 * `error` itself, unless it says that there is no space: then `QM_TARGET_FULL`, or `QM_PIVOT_REFUSED` with its words, about the one of
 * `written` that it names; where it names none, the one with the least room. Never rejects.
 */
export async function explainFull(error: unknown, written: readonly WrittenFile[]): Promise<unknown> {
  const said = findFull(error);
  if (said === undefined) return error;
  const named = written.filter(({ disk, path }) => path === said.fields["path"] || disk === said.fields["disk"]);
  const rooms = await Promise.all(
    (named.length === 0 ? written : named).map(async (file) => ({
      ...file,
      availableBytes: await freeBytes(file.path),
    })),
  );
  const [tightest] = rooms.toSorted((a, b) => a.availableBytes - b.availableBytes);
  if (tightest === undefined) return error;
  const full = new QmError("QM_TARGET_FULL", { ...tightest, reason: said.message }, { cause: error });
  if (!isQmError(error, "QM_PIVOT_REFUSED")) return full;
  return new QmError("QM_PIVOT_REFUSED", { ...full.fields, reason: full.message }, { cause: error });
}

/** The first error in the chain of causes that says it and names a file or a disk. */
function findFull(error: unknown): QmError | undefined {
  if (!(error instanceof Error)) return undefined;
  const names = isQmError(error) && ("path" in error.fields || "disk" in error.fields);
  return names && saysFull(error.message) ? error : findFull(error.cause);
}

/** What a step writes to. */
export function writtenIn(plan: StoragePlan, step: StepName): readonly WrittenFile[] {
  switch (step) {
    case "copy-layers":
      return [...writtenIn(plan, "await-ready"), ...plan.copies.map(({ disk, to }) => ({ disk, path: to.path }))];
    case "commit-back":
      return plan.disks.map(({ target, base }) => ({ disk: target, path: base.image.path }));
    case "create-files":
    case "prepare-images":
      return plan.files;
    default:
      return plan.disks.map(({ target, mirror, overlay }) => ({ disk: target, path: (mirror ?? overlay).image.path }));
  }
}

/** What a task writes to. */
export function writtenBy(task: Task): readonly WrittenFile[] {
  switch (task.task) {
    case "create-overlay":
    case "internal-offline":
      return [{ disk: task.disk, path: task.image.path }];
    case "copy-image":
      return [{ disk: task.disk, path: task.to.path }];
    case "merge-down":
      return [{ disk: task.disk, path: task.base.path }];
    case "pull-up":
      return [{ disk: task.disk, path: task.top.path }];
    case "start-copy":
    case "hold-copy":
      return [{ disk: task.disk, path: task.copy.target.image.path }];
    case "internal-live":
      return task.disks.map(({ disk, image }) => ({ disk, path: image.path }));
    default:
      return [];
  }
}
