/** Merging what became active last into the image below it, all disks or none, and the truth where QEMU breaks that. */
import { QmError } from "../../base/errors.ts";
import { isConnected } from "../../qemu/monitor.ts";
import { mergedDisks, mirroredDisks } from "./storage-plan.ts";
import type { Fact, StepContext } from "./step.ts";

/** `commit-back`: overlays into their bases. `merged`: mirrors into the copied images below them. */
export type MergeFact = Extract<Fact, "commit-back" | "merged">;

/**
 * Holds all, establishes `fact`, merges. Rejects before the fact with nothing changed; after it with the disks that QEMU refused in
 * the journal: they go on on the upper image, which stays their truth, and no file of theirs may be removed.
 */
export async function mergeBack(context: StepContext, fact: MergeFact): Promise<void> {
  const { dialect, monitor, plan, journal } = context;
  const decide = (): void => journal.establish(fact);
  try {
    await dialect.commitBack(monitor, disksOf(context, fact), decide, plan.options.prepareTimeoutMs);
  } catch (error) {
    if (journal.has("fact", fact) && isConnected(monitor)) await assertMerged(context, fact, error);
    throw error;
  }
}

/** Goes on with a `mergeBack` that was decided and then interrupted; rejects as that. */
export async function finishMergeBack(context: StepContext, fact: MergeFact): Promise<void> {
  await context.dialect.finishCommitBack(context.monitor, disksOf(context, fact));
  await assertMerged(context, fact);
}

async function assertMerged(context: StepContext, fact: MergeFact, cause?: unknown): Promise<void> {
  const { dialect, monitor, plan, journal } = context;
  const upper = fact === "merged" ? "mirror" : "overlay";
  const seen = await dialect.observe(monitor, fact === "merged" ? mirroredDisks(plan) : plan.disks);
  const left = seen.filter(({ active }) => active === upper).map(({ target }) => target);
  if (left.length === 0) return;
  journal.establish(fact, left);
  const reason = cause instanceof Error ? cause.message : "QEMU did not merge it";
  throw new QmError(
    "QM_JOB_FAILED",
    { disk: left.join(", "), job: `merging the ${upper} back`, reason: `${reason}; the guest goes on on it` },
    { cause },
  );
}

function disksOf({ plan }: StepContext, fact: MergeFact) {
  return fact === "merged" ? mergedDisks(plan) : plan.disks;
}
