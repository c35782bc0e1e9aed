import { mergeBack } from "./merge-back.ts";
import { removeOwnFiles } from "./own-files.ts";
import { mirroredDisks, overlayPaths } from "./storage-plan.ts";
import type { Step } from "./step.ts";

/** Ends all mirrors at one instant; what they hold then is the copy. The guest never leaves its source. */
export const finishClone: Step = {
  name: "finish-clone",
  journalled: true,
  act: ({ dialect, monitor, plan, journal }) =>
    dialect.finishClone(monitor, mirroredDisks(plan), () => journal.establish("clone"), plan.options.prepareTimeoutMs),
};

/** Merges the overlays back into their bases and deletes them: the domain's chains are as before the operation. */
export const commitBack: Step = {
  name: "commit-back",
  journalled: true,
  async act(context) {
    await mergeBack(context, "commit-back");
    await removeOwnFiles(context.journal, overlayPaths(context.plan));
  },
};
