/** Runs a plan's steps in order; where one fails before the point of no return, undoes all that were begun, last first. */
import { QmError, asQmError } from "../../base/errors.ts";
import type { StepName } from "../steps/storage-plan.ts";
import { withRollback } from "./with-rollback.ts";
import { explainFull, writtenIn } from "../steps/full-target.ts";
import { stepByName } from "../steps/index.ts";
import type { Step, StepContext } from "../steps/step.ts";

export interface RunHooks {
  /** Called before a step acts; durable when it returns, for a journalled step. */
  readonly enterStep: (step: Step) => void;
  /** A named point where a test may end the process. `before take-snapshot`, `after take-snapshot`, `undo take-snapshot`. */
  readonly fault: (point: string) => Promise<void>;
  /** True once a decision forbids going back. */
  readonly decided: () => boolean;
}

/**
 * Runs the steps from `from` on. Rejects with the first error, after the domain is as it was before (or, past the decision,
 * as far forward as it came). `fields.rollback` of the error holds what could not be undone, in words.
 * With the monitor lost nothing is undone: what is true has to be found out first (`engine/recovery`).
 */
export async function runPlan(context: StepContext, hooks: RunHooks, from: StepName): Promise<void> {
  const { steps } = context.plan;
  for (const name of steps.slice(steps.indexOf(from))) {
    const step = stepByName(name);
    try {
      if (context.signal.aborted && !hooks.decided()) throw new QmError("QM_CANCELLED", { what: "the operation" });
      hooks.enterStep(step);
      await hooks.fault(`before ${name}`);
      await step.act(context);
      await hooks.fault(`after ${name}`);
    } catch (error) {
      // A lost connection is "closing" before it is "closed", and fails what is in flight at once.
      if (context.monitor.state !== "running") throw error;
      // Before undoing makes room again.
      const told = await explainFull(error, writtenIn(context.plan, name));
      if (hooks.decided()) throw told;
      throw withRollback(told, await rollBack(context, hooks, name));
    }
  }
}

/**
 * Undoes the step `from` and all before it, shielded from cancellation. Stops at the first that cannot be undone: what is
 * below it may still be in use. Returns that error; absent: all is as it was before.
 */
export async function rollBack(context: StepContext, hooks: RunHooks, from: StepName): Promise<Error | undefined> {
  const { steps } = context.plan;
  noteRollback(context, from);
  const shielded = { ...context, signal: new AbortController().signal };
  const begun = steps
    .slice(0, steps.indexOf(from) + 1)
    .toReversed()
    .map(stepByName);
  let failure: Error | undefined;
  for (const step of begun.toSorted((a, b) => Number(b.undoneFirst ?? false) - Number(a.undoneFirst ?? false))) {
    try {
      await hooks.fault(`undo ${step.name}`);
      await step.undo?.(shielded);
    } catch (error) {
      failure ??= asQmError(error);
      if (step.undoneFirst !== true) break;
    }
  }
  return failure;
}

/** A rollback that is interrupted has to go on as one: what it has undone must not be taken for done. */
function noteRollback({ journal }: StepContext, from: StepName): void {
  try {
    if (!journal.has("rollback")) journal.record("rollback", from);
  } catch {
    // A journal that cannot be written is why most rollbacks without this record begin. The guest may be held by what is to be undone;
    // recovery without the record goes on only where every mirror is still in step.
  }
}
