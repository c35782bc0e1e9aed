/** What a task is, and what it may use. */
import type { Machine } from "../machine.ts";
import type { Task, TaskPlan, TruthChange } from "../task-plan.ts";

export interface TaskJournal {
  /** Makes `change` true, durably, and records that the task has done so. */
  establish(change: TruthChange): void;
  /** What the task has established does not hold: `change` does, durably. */
  retract(change: TruthChange): void;
  /** Whether this task has established its change: in this run, or before a crash. */
  readonly established: boolean;
  /** Durable when it returns. */
  record(kind: string, data: unknown): void;
  has(kind: string, data?: unknown): boolean;
}

export interface TaskContext {
  readonly plan: TaskPlan;
  readonly machine: Machine;
  readonly journal: TaskJournal;
  /** Aborted when the user cancels; undoing gets one that never is. */
  readonly signal: AbortSignal;
  /** 0: no limit. */
  readonly bytesPerS: () => number;
  readonly reportProgress: (disk: string, doneBytes: number, totalBytes: number) => void;
}

export interface TaskHandler<T extends Task> {
  /** Acts; when it rejects it may have acted in part. A task behind the decision is called again after a crash: it looks first. */
  act(task: T, context: TaskContext): Promise<void>;
  /** Takes back what `act` did, in whole or in part, by looking at what is there. Absent: nothing to take back. */
  undo?(task: T, context: TaskContext): Promise<void>;
}
