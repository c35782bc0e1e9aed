/** The two phases of the pivot (DESIGN section 2): hold all, decide on disk, let all go on on their mirrors. */
import { QmError, errorText } from "../../base/errors.ts";
import { removeFile } from "../../image/files.ts";
import { mergedDisks, mirroredDisks } from "./storage-plan.ts";
import { removeMirrorFiles } from "./mirrors.ts";
import type { Step } from "./step.ts";

export const attachBacking: Step = {
  name: "attach-backing",
  journalled: true,
  act: ({ dialect, monitor, plan }) => dialect.attachBacking(monitor, mirroredDisks(plan)),
};

export const preparePivot: Step = {
  name: "prepare-pivot",
  journalled: true,
  act: ({ dialect, monitor, plan }) =>
    dialect.preparePivot(monitor, mirroredDisks(plan), plan.options.prepareTimeoutMs),
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

/** After it every device writes to its mirror, seen in QEMU's graph. `QM_PIVOT_SPLIT` names the disks that QEMU refused. */
export const finishPivot: Step = {
  name: "finish-pivot",
  journalled: false,
  async act({ dialect, monitor, plan, journal }) {
    const disks = mirroredDisks(plan);
    const refused = await dialect.finishPivot(monitor, disks);
    const seen = await dialect.observe(monitor, disks);
    const left = seen.filter(({ active }) => active !== "mirror").map(({ target }) => target);
    if (left.length === 0) return;
    journal.establish("pivot", left);
    const reason = refused.map((failure) => `${failure.target}: ${failure.reason}`).join("; ");
    throw new QmError("QM_PIVOT_SPLIT", {
      disks: left.join(", "),
      reason: reason === "" ? "QEMU does not say why" : reason,
    });
  },
};

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
  async act({ dialect, monitor, plan, journal }) {
    const disks = mergedDisks(plan);
    let merged = false;
    const decide = (): void => {
      journal.establish("merged");
      merged = true;
    };
    try {
      await dialect.commitBack(monitor, disks, decide, plan.options.prepareTimeoutMs);
    } catch (error) {
      if (merged || monitor.state === "closed") throw error;
      journal.record("not-merged", errorText(error));
      return;
    }
    await removeMirrorFiles(plan);
  },
};

export const removeSource: Step = {
  name: "remove-source",
  journalled: false,
  async act({ plan }) {
    await Promise.all(plan.removeAfterPivot.map((path) => removeFile(path)));
  },
};
