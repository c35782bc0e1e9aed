/** Runs a plan's tasks in order; where one fails before the decision, undoes all that were begun, last first. */
import { QmError } from "../../base/errors.ts";
import { explainFull, writtenBy } from "../steps/full-target.ts";
import { actOn, undoTask } from "../steps/tasks/index.ts";
import type { TaskContext, TaskJournal } from "../steps/tasks/task.ts";
import { withRollback } from "./with-rollback.ts";

export interface TaskHooks {
  /** Called before a task acts or is undone; durable when it returns. */
  readonly enterTask: (index: number) => void;
  /** See `RunHooks.fault`. */
  readonly fault: (point: string) => Promise<void>;
  readonly journal: (index: number) => TaskJournal;
  /** QEMU's monitor went away, and nobody asked for it: what is true has to be found out before anything is undone. */
  readonly isLost: () => boolean;
}

export type TasksContext = Omit<TaskContext, "journal">;

/**
 * Runs the tasks from `from` on. Rejects with the first error: before the decision everything is as it was, unless
 * `fields.rollback` says what could not be undone; after it, what is done stays.
 */
export async function runTasks(context: TasksContext, hooks: TaskHooks, from: number): Promise<void> {
  const { plan, signal } = context;
  for (let index = from; index < plan.tasks.length; index++) {
    const task = plan.tasks[index];
    if (task === undefined) return;
    try {
      if (signal.aborted && (plan.stoppable || !isDecided(context, hooks))) {
        throw new QmError("QM_CANCELLED", { what: "the operation" });
      }
      hooks.enterTask(index);
      await hooks.fault(`before ${task.task}`);
      await actOn(task, { ...context, journal: hooks.journal(index) });
      await hooks.fault(`after ${task.task}`);
    } catch (error) {
      if (hooks.isLost()) throw error;
      // Before undoing makes room again.
      const told = await explainFull(error, writtenBy(task));
      if (isDecided(context, hooks)) throw told;
      throw withRollback(told, await rollBackTasks(context, hooks, index));
    }
  }
}

/** An operation that the end of the daemon, or of QEMU, interrupted in task `index`: forward past the decision, back before it. */
export async function resumeTasks(context: TasksContext, hooks: TaskHooks, index: number): Promise<void> {
  if (isDecided(context, hooks)) return await runTasks(context, hooks, Math.max(index, context.plan.decidedAt));
  const rollback = await rollBackTasks(context, hooks, index);
  const operation = context.plan.id;
  throw new QmError("QM_INTERRUPTED", {
    operation,
    reason: rollback === undefined ? "it was undone" : `undoing it stopped: ${rollback.message}`,
  });
}

export function isDecided({ plan }: TasksContext, { journal }: TaskHooks): boolean {
  return journal(plan.decidedAt).established;
}

async function rollBackTasks(context: TasksContext, hooks: TaskHooks, from: number): Promise<Error | undefined> {
  const shielded = { ...context, signal: new AbortController().signal };
  for (let index = from; index >= 0; index--) {
    const task = context.plan.tasks[index];
    if (task === undefined) continue;
    try {
      await hooks.fault(`undo ${task.task}`);
      await undoTask(task, { ...shielded, journal: hooks.journal(index) });
    } catch (error) {
      return error instanceof Error ? error : new Error("undoing failed", { cause: error });
    }
  }
  return undefined;
}
