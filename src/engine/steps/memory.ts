import { resume, saveMemoryFile, undoSave } from "./save-memory.ts";
import type { Step } from "./step.ts";

/** The guest's memory into its file. The guest stands still at that instant, until `resume-guest`. */
export const saveMemory: Step = {
  name: "save-memory",
  journalled: true,
  async act(context) {
    const { memory } = context.plan;
    if (memory !== undefined) await saveMemoryFile(context.monitor, memory, context);
  },
  async undo(context) {
    const { memory } = context.plan;
    if (memory !== undefined) await undoSave(memory, context);
  },
};

export const resumeGuest: Step = {
  name: "resume-guest",
  journalled: true,
  async act({ plan: { memory }, machine }) {
    if (memory?.wasRunning === true) await resume(machine);
  },
};
