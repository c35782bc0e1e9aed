/**
 * Recovery: an operation that was under way when the daemon, QEMU or both ended. The journal's last fact and last step are held
 * against what QEMU says (DESIGN section 2, table). Each branch may itself be interrupted and run again.
 */
import { QmError } from "../../base/errors.ts";
import {
  mirroredDisks,
  mirrorPaths,
  newPaths,
  overlayPaths,
  stepNames,
  type StepName,
  type StoragePlan,
} from "../steps/storage-plan.ts";
import { removeCopies } from "../steps/copy-layers.ts";
import { stepByName } from "../steps/index.ts";
import { finishMergeBack } from "../steps/merge-back.ts";
import { removeSourceFiles } from "../steps/pivot.ts";
import { removeOwnFiles } from "../steps/own-files.ts";
import { rollBack, runPlan, type RunHooks } from "../runner/run-plan.ts";
import { facts, type Fact, type OperationJournal, type StepContext } from "../steps/step.ts";

export interface JournalView {
  /** The last step whose intent is on disk. Steps after it that are not journalled may have been begun too. */
  readonly step: StepName;
  /** The last fact that was established. */
  readonly fact?: Fact;
}

/**
 * QEMU lives. Goes on where nothing was lost, otherwise undoes. Resolves when the operation has done all that it was asked to;
 * rejects with `QM_INTERRUPTED` when it had to be undone.
 */
export async function reconcileAlive(context: StepContext, hooks: RunHooks, view: JournalView): Promise<void> {
  const { plan, dialect, monitor } = context;
  if (view.fact === "pivot") return await runPlan(context, hooks, "finish-pivot");
  if (view.fact === "merged") {
    await finishMergeBack(context, "merged");
    await removeOwnFiles(context.journal, mirrorPaths(plan));
    return plan.steps.includes("remove-source") ? await runPlan(context, hooks, "remove-source") : undefined;
  }
  if (view.fact === "clone") {
    // Held jobs that were asked to end without a pivot do so when they are finalized.
    await dialect.finishPivot(monitor, mirroredDisks(plan));
    await dialect.stopMirrors(monitor, mirroredDisks(plan));
    return await runPlan(context, hooks, "commit-back");
  }
  if (view.fact === "commit-back") {
    await finishMergeBack(context, "commit-back");
    // The guest may stand still since its memory was saved.
    await stepByName("save-memory").undo?.(context);
    await removeUnneeded(plan, context.journal);
    if (context.journal.has("fact", "clone")) return;
    throw interrupted(plan, "it was being undone, and is");
  }
  if (plan.steps[0] === "stop-mirrors") return await runPlan(context, hooks, "stop-mirrors");
  if (!context.journal.has("rollback") && (await canGoOn(context, view.step)))
    return await runPlan(context, hooks, view.step);
  const rollback = await rollBack(context, hooks, lastPossibleStep(plan, view.step));
  if (rollback !== undefined) throw interrupted(plan, `undoing it stopped: ${rollback.message}`);
  if (context.signal.aborted && monitor.state === "running")
    throw new QmError("QM_CANCELLED", { what: "the operation" });
  throw interrupted(plan, "qmirrord or its connection to QEMU ended while it was under way; it was undone");
}

/** Steps that can be begun again once every mirror is in step with its source. */
export const resumable: ReadonlySet<StepName> = new Set([
  "copy-layers",
  "verify-copies",
  "attach-backing",
  "prepare-pivot",
  "finish-clone",
]);

/** The furthest that the operation can have come with `step` as its last record. */
function lastPossibleStep(plan: StoragePlan, step: StepName): StepName {
  const after = plan.steps.slice(plan.steps.indexOf(step) + 1);
  const next = after.findIndex((name) => stepByName(name).journalled);
  return after.slice(0, next === -1 ? after.length : next).at(-1) ?? step;
}

/** Past the snapshot and the mirrors' start, with every mirror in step with its source. */
async function canGoOn(context: StepContext, step: StepName): Promise<boolean> {
  if (!resumable.has(step)) return false;
  const seen = await context.dialect.observe(context.monitor, mirroredDisks(context.plan));
  return seen.every(({ active, job }) => active === "overlay" && (job === "ready" || job === "pending"));
}

/**
 * QEMU is dead: nothing writes any more, and the truth follows from the journal alone. Files that are not the truth and were
 * made by this operation are removed. Returns whether the operation did what it was asked to.
 */
export async function reconcileDead(plan: StoragePlan, journal: OperationJournal, view: JournalView): Promise<boolean> {
  // Some disk never left an image that would be removed now: what is left over is the lesser evil.
  if (journal.has("left")) return false;
  switch (view.fact) {
    case "merged":
    case "pivot":
      if (view.fact === "merged") await removeOwnFiles(journal, mirrorPaths(plan));
      if (plan.steps.includes("remove-source")) await removeSourceFiles(plan);
      return true;
    case "clone":
      return true;
    case "commit-back":
      await removeUnneeded(plan, journal);
      return journal.has("fact", "clone");
    case "snapshot-taken":
    case "mirrored":
    case "mirrors-ended":
      await dropMirrors(plan, journal);
      return false;
    case undefined:
      return await reconcileBeforeFacts(plan, journal, view.step);
    default:
      return view.fact satisfies never;
  }
}

async function reconcileBeforeFacts(plan: StoragePlan, journal: OperationJournal, step: StepName): Promise<boolean> {
  const takes = plan.steps.includes("take-snapshot");
  if (takes && step === "take-snapshot") {
    // Unknown whether it was taken: an overlay that never became active is empty and shows its base, so it is true either way.
    journal.establish("snapshot-taken");
    await dropMirrors(plan, journal);
    return false;
  }
  if (takes) {
    // Before `save-memory` a file of that name is somebody else's.
    const memory = step === "save-memory" && plan.memory !== undefined ? [plan.memory.path] : [];
    await removeOwnFiles(journal, [...newPaths(plan), ...memory]);
    return false;
  }
  await dropMirrors(plan, journal);
  return plan.steps[0] === "stop-mirrors";
}

/** The mirrors and the copies below them are of no use without QEMU: the source has every write. */
async function dropMirrors(plan: StoragePlan, journal: OperationJournal): Promise<void> {
  journal.establish("mirrors-ended");
  await removeOwnFiles(journal, mirrorPaths(plan));
  await removeCopies(plan, journal);
}

/** Once the bases are the truth again, overlays are of no use, and mirrors only where they are a finished clone. */
async function removeUnneeded(plan: StoragePlan, journal: OperationJournal): Promise<void> {
  const memory = plan.memory === undefined ? [] : [plan.memory.path];
  await removeOwnFiles(journal, [...(journal.has("fact", "clone") ? overlayPaths(plan) : newPaths(plan)), ...memory]);
}

function interrupted(plan: StoragePlan, reason: string): QmError {
  return new QmError("QM_INTERRUPTED", { operation: plan.id, reason });
}

/** Reads a journal's row. Throws `QM_INTERNAL` for a step that this qmirror does not know: nothing is guessed then. */
export function readView(row: { id: string; step: string; decision?: string | undefined }): JournalView {
  const step = stepNames.find((name) => name === row.step);
  const fact = facts.find((known) => known === row.decision);
  if (step === undefined || (row.decision !== undefined && fact === undefined)) {
    throw new QmError("QM_INTERNAL", {
      reason: `operation ${row.id} is at the unknown step '${row.step}' (${row.decision ?? "nothing decided"})`,
    });
  }
  return { step, ...(fact === undefined ? {} : { fact }) };
}
