import { isConnected } from "../../qemu/monitor.ts";
import { mergeBack } from "./merge-back.ts";
import { removeOwnFiles } from "./own-files.ts";
import { mirrorPaths } from "./storage-plan.ts";
import type { Step } from "./step.ts";

/** The instant: one transaction over all disks. Undoing it merges the overlays back, all or none. */
export const takeSnapshot: Step = {
  name: "take-snapshot",
  journalled: true,
  async act({ dialect, monitor, plan, journal }) {
    await dialect.takeSnapshot(monitor, plan.disks);
    journal.establish("snapshot-taken");
  },
  async undo(context) {
    const { dialect, monitor, plan, journal } = context;
    const seen = await dialect.observe(monitor, plan.disks);
    if (seen.every(({ active }) => active === "base")) return;
    // The outcome may have been unknown until now: the overlays have to be the truth before they are merged.
    if (!journal.has("fact", "snapshot-taken")) journal.establish("snapshot-taken");
    try {
      await mergeBack(context, "commit-back");
    } catch (error) {
      // The guest stays on its overlays, with all data. Their mirrors are of no use to anyone.
      if (journal.has("fact", "mirrors-ended") && isConnected(monitor))
        await removeOwnFiles(journal, mirrorPaths(plan));
      throw error;
    }
  },
};
