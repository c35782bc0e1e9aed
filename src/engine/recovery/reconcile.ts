/**
 * Recovery: an operation that was under way when the daemon, QEMU or both ended. The journal's last fact and last step are held
 * against what QEMU says (DESIGN section 2, table). Each branch may itself be interrupted and run again.
 */
import { QmError } from "../../base/errors.ts";
import { removeFile } from "../../image/files.ts";
import { mergedDisks, mirroredDisks, stepNames, type StepName, type StoragePlan } from "../steps/storage-plan.ts";
import { removeMirrorFiles } from "../steps/mirrors.ts";
import { rollBack, runPlan, type RunHooks } from "../runner/run-plan.ts";
import type { Fact, OperationJournal, StepContext } from "../steps/step.ts";

export interface JournalView {
  /** The last step whose intent is on disk; `begin` before the first. */
  readonly step: StepName | "begin";
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
    await dialect.finishCommitBack(monitor, mergedDisks(plan));
    await removeMirrorFiles(plan);
    return plan.steps.includes("remove-source") ? await runPlan(context, hooks, "remove-source") : undefined;
  }
  if (view.fact === "clone") {
    // Held jobs that were asked to end without a pivot do so when they are finalized.
    await dialect.finishPivot(monitor, mirroredDisks(plan));
    await dialect.stopMirrors(monitor, mirroredDisks(plan));
    return await runPlan(context, hooks, "commit-back");
  }
  if (view.fact === "commit-back") {
    await dialect.finishCommitBack(monitor, plan.disks);
    await removeNewFiles(plan, isUnneeded(plan, context.journal));
    if (context.journal.has("fact", "clone")) return;
    throw interrupted(plan, "it was being undone, and is");
  }
  if (plan.steps[0] === "stop-mirrors") return await runPlan(context, hooks, "stop-mirrors");
  if (view.step !== "begin" && !context.journal.has("rollback") && (await canGoOn(context, view.step)))
    return await runPlan(context, hooks, view.step);
  if (view.step !== "begin") {
    const rollback = await rollBack(context, hooks, view.step);
    if (rollback !== undefined) throw interrupted(plan, `undoing it stopped: ${rollback.message}`);
  }
  throw interrupted(plan, "qmirrord ended while it was under way; it was undone");
}

const resumable: ReadonlySet<StepName> = new Set([
  "copy-layers",
  "verify-copies",
  "attach-backing",
  "prepare-pivot",
  "finish-clone",
]);

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
  switch (view.fact) {
    case "merged":
    case "pivot":
      if (view.fact === "merged") await removeMirrorFiles(plan);
      if (plan.steps.includes("remove-source"))
        await Promise.all(plan.removeAfterPivot.map((path) => removeFile(path)));
      return true;
    case "clone":
      return true;
    case "commit-back":
      await removeNewFiles(plan, isUnneeded(plan, journal));
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

async function reconcileBeforeFacts(
  plan: StoragePlan,
  journal: OperationJournal,
  step: JournalView["step"],
): Promise<boolean> {
  const takes = plan.steps.includes("take-snapshot");
  if (takes && step === "take-snapshot") {
    // Unknown whether it was taken: an overlay that never became active is empty and shows its base, so it is true either way.
    journal.establish("snapshot-taken");
    await dropMirrors(plan, journal);
    return false;
  }
  if (takes) {
    await removeNewFiles(plan, () => true);
    return false;
  }
  await dropMirrors(plan, journal);
  return plan.steps[0] === "stop-mirrors";
}

/** The mirrors and the copies below them are of no use without QEMU: the source has every write. */
async function dropMirrors(plan: StoragePlan, journal: OperationJournal): Promise<void> {
  const mirrors = new Set(mirroredDisks(plan).map((disk) => disk.mirror.image.path));
  journal.establish("mirrors-ended");
  await removeNewFiles(plan, (path) => mirrors.has(path));
  const begun = plan.copies.filter((copy) => journal.has("copying", copy.to.path));
  await Promise.all(begun.map((copy) => removeFile(copy.to.path)));
}

/** Once the bases are the truth again, overlays are of no use, and mirrors only where they are a finished clone. */
function isUnneeded(plan: StoragePlan, journal: OperationJournal): (path: string) => boolean {
  if (!journal.has("fact", "clone")) return () => true;
  const overlays = new Set(plan.disks.map((disk) => disk.overlay.image.path));
  return (path) => overlays.has(path);
}

async function removeNewFiles(plan: StoragePlan, which: (path: string) => boolean): Promise<void> {
  await Promise.all(
    plan.files.filter((file) => !file.existed && which(file.path)).map((file) => removeFile(file.path)),
  );
}

function interrupted(plan: StoragePlan, reason: string): QmError {
  return new QmError("QM_INTERRUPTED", { operation: plan.id, reason });
}

/** Reads a journal's row: steps and facts of the plan, or damage. */
export function readView(row: { step: string; decision?: string | undefined }): JournalView {
  const step = stepNames.find((name) => name === row.step);
  const fact = row.decision as Fact | undefined;
  return { step: step ?? "begin", ...(fact === undefined ? {} : { fact }) };
}
