/** The two phases of the pivot (DESIGN section 2): hold all, decide on disk, let all go on on their mirrors. */
import { QmError, errorText, isQmError } from "../../base/errors.ts";
import { removeFile } from "../../image/files.ts";
import { isConnected } from "../../qemu/monitor.ts";
import type { JobFailure } from "../../qemu/mirror-dialect/dialect.ts";
import { mirroredDisks, mirrorPaths, type MirroredDiskPlan, type StoragePlan } from "./storage-plan.ts";
import { mergeBack } from "./merge-back.ts";
import { removeOwnFiles } from "./own-files.ts";
import type { Step, StepContext } from "./step.ts";

export const attachBacking: Step = {
  name: "attach-backing",
  journalled: true,
  act: ({ dialect, monitor, plan }) => dialect.attachBacking(monitor, mirroredDisks(plan)),
};

/** What QEMU says of its jobs; other errors name the disk and its state already. */
const refusals = ["QM_QMP_COMMAND", "QM_JOB_FAILED", "QM_TIMEOUT"] as const;

export const preparePivot: Step = {
  name: "prepare-pivot",
  journalled: true,
  async act({ dialect, monitor, plan }) {
    try {
      await dialect.preparePivot(monitor, mirroredDisks(plan), plan.options.prepareTimeoutMs);
    } catch (error) {
      if (!refusals.some((code) => isQmError(error, code))) throw error;
      throw new QmError("QM_PIVOT_REFUSED", { reason: errorText(error) }, { cause: error });
    }
  },
  undo: ({ dialect, monitor, plan }) => dialect.cancelPivot(monitor, mirroredDisks(plan)),
};

export const decidePivot: Step = {
  name: "decide-pivot",
  journalled: false,
  act({ journal }) {
    journal.establish("pivot");
    return Promise.resolve();
  },
};

/** How often disks that QEMU left on their source are mirrored forward before the pivot is reported as split. */
const forwardTries = 2;

/**
 * After it every device writes to its mirror, seen in QEMU's graph. Disks that QEMU refused go on on their source, and the journal says so
 * before anything else happens; they are mirrored once more and follow the others. `QM_PIVOT_SPLIT` names those that cannot.
 */
export const finishPivot: Step = {
  name: "finish-pivot",
  journalled: false,
  async act(context) {
    const { dialect, monitor, plan, journal } = context;
    const disks = mirroredDisks(plan);
    const reasons = new Map<string, string>();
    const note = (failures: readonly JobFailure[]): void =>
      failures.forEach(({ target, reason }) => reasons.set(target, reason));
    note(await dialect.finishPivot(monitor, disks));
    let left = await leftOnSource(context, disks);
    for (let tries = 0; left.length > 0 && tries < forwardTries; tries++) {
      journal.establish("pivot", targetsOf(left));
      note(await moveForward(context, left));
      left = await leftOnSource(context, disks);
    }
    if (left.length === 0) return;
    journal.establish("pivot", targetsOf(left));
    const moved = disks.filter((disk) => !left.includes(disk));
    await dialect.closeSource(
      monitor,
      moved,
      moved.flatMap(({ target }) => plan.sourceNodes[target] ?? []),
    );
    const reason = left.flatMap(({ target }) => reasons.get(target) ?? []).join("; ");
    throw new QmError("QM_PIVOT_SPLIT", {
      disks: targetsOf(left).join(", "),
      reason: reason === "" ? "QEMU does not say why" : reason,
    });
  },
};

async function leftOnSource(
  { dialect, monitor }: StepContext,
  disks: readonly MirroredDiskPlan[],
): Promise<MirroredDiskPlan[]> {
  const seen = await dialect.observe(monitor, disks);
  return disks.filter((_, index) => seen[index]?.active !== "mirror");
}

/** The two phases once more, for some disks. Returns why they did not succeed; the disks are on their source then. */
async function moveForward(context: StepContext, left: readonly MirroredDiskPlan[]): Promise<readonly JobFailure[]> {
  const { dialect, monitor, plan, journal } = context;
  if (dialect.mirrorAgain === undefined) return [];
  try {
    // Some may be under way: an earlier try that the end of the daemon interrupted.
    const seen = await dialect.observe(monitor, left);
    await dialect.mirrorAgain(
      monitor,
      left.filter((_, index) => seen[index]?.job === undefined),
    );
    await dialect.awaitReady(monitor, left, new AbortController().signal);
    await dialect.preparePivot(monitor, left, plan.options.prepareTimeoutMs);
    journal.establish("pivot");
    return await dialect.finishPivot(monitor, left);
  } catch (error) {
    if (!isConnected(monitor)) throw error;
    await dialect.cancelPivot(monitor, left);
    return left.map(({ target }) => ({ target, reason: errorText(error) }));
  }
}

function targetsOf(disks: readonly MirroredDiskPlan[]): string[] {
  return disks.map(({ target }) => target);
}

export const closeSource: Step = {
  name: "close-source",
  journalled: false,
  act: ({ dialect, monitor, plan }) =>
    dialect.closeSource(monitor, mirroredDisks(plan), Object.values(plan.sourceNodes).flat()),
};

/**
 * Merges each mirror into the copied image below it, so that a migration does not lengthen the chain. The domain has moved
 * already: a merge that fails leaves one layer more, and is recorded, not an error.
 */
export const mergeOverlays: Step = {
  name: "merge-overlays",
  journalled: false,
  async act(context) {
    const { monitor, plan, journal } = context;
    try {
      await mergeBack(context, "merged");
    } catch (error) {
      if (journal.has("fact", "merged") || !isConnected(monitor)) throw error;
      journal.record("not-merged", errorText(error));
      return;
    }
    await removeOwnFiles(journal, mirrorPaths(plan));
  },
};

export const removeSource: Step = {
  name: "remove-source",
  journalled: false,
  act: ({ plan }) => removeSourceFiles(plan),
};

export async function removeSourceFiles(plan: StoragePlan): Promise<void> {
  await Promise.all(plan.removeAfterPivot.map((path) => removeFile(path)));
}
