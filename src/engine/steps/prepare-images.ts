import type { Step } from "./step.ts";

/** Writes the images' headers and opens them in QEMU; nothing uses them yet. */
export const prepareImages: Step = {
  name: "prepare-images",
  // Undone whenever `create-files` is: what QEMU may have opened follows from the plan.
  journalled: false,
  act: ({ dialect, monitor, plan, signal }) => dialect.prepare(monitor, plan.disks, signal),
  undo: ({ dialect, monitor, plan }) => dialect.undoPrepare(monitor, plan.disks),
};
