import type { Establish, Task, TaskName } from "../task-plan.ts";
import { endCopy, finishHeldCopy, holdReadyCopy, startDiskCopy } from "./block-copy.ts";
import {
  applyInternalImage,
  deleteInternalImages,
  internalLive,
  internalOffline,
  loadInternalImages,
} from "./internal.ts";
import { mergeDown, pullUp, removeUnused } from "./layers.ts";
import { resumeGuest, saveMemory, startMachine, stopMachine } from "./machine-tasks.ts";
import { copyImage, createOverlayImage } from "./new-images.ts";
import type { TaskContext, TaskHandler } from "./task.ts";

const establish: TaskHandler<Establish> = {
  act({ change }, { journal }) {
    journal.establish(change);
    return Promise.resolve();
  },
};

const all: { readonly [Name in TaskName]: TaskHandler<Extract<Task, { task: Name }>> } = {
  "create-overlay": createOverlayImage,
  "copy-image": copyImage,
  "internal-offline": internalOffline,
  "internal-live": internalLive,
  "save-memory": saveMemory,
  establish,
  "merge-down": mergeDown,
  "pull-up": pullUp,
  "delete-internal": deleteInternalImages,
  "apply-internal": applyInternalImage,
  "remove-file": removeUnused,
  "stop-machine": stopMachine,
  "start-machine": startMachine,
  "load-internal": loadInternalImages,
  "resume-guest": resumeGuest,
  "start-copy": startDiskCopy,
  "hold-copy": holdReadyCopy,
  "finish-copy": finishHeldCopy,
  "end-copy": endCopy,
};

export function isTaskName(name: string): name is TaskName {
  return Object.hasOwn(all, name);
}

export async function actOn<Name extends TaskName>(
  task: Extract<Task, { task: Name }>,
  context: TaskContext,
): Promise<void> {
  await (all[task.task] as TaskHandler<Extract<Task, { task: Name }>>).act(task, context);
}

export async function undoTask<Name extends TaskName>(
  task: Extract<Task, { task: Name }>,
  context: TaskContext,
): Promise<void> {
  await (all[task.task] as TaskHandler<Extract<Task, { task: Name }>>).undo?.(task, context);
}
