import { QmError, asQmError, isQmError } from "../../base/errors.ts";
import type { Step } from "./step.ts";

/** The agent has said no, or was told to thaw: what is frozen now was frozen by somebody else. */
const notFrozen = "not-frozen";

/**
 * The guest's file systems stand still from here to `thaw`. An agent that refuses or does not answer is an error before any disk
 * changed; whatever fails later, the daemon's own end included, undoing this step thaws. Undoing rejects with `QM_AGENT` when it could
 * not be done.
 */
export const freeze: Step = {
  name: "freeze",
  journalled: true,
  undoneFirst: true,
  async act({ machine, journal }) {
    try {
      await machine.freeze();
    } catch (error) {
      journal.record(notFrozen, asQmError(error).message);
      throw error;
    }
  },
  async undo({ machine, journal, plan }) {
    if (journal.has(notFrozen)) return;
    try {
      await machine.thaw();
    } catch (error) {
      const why = isQmError(error, "QM_AGENT") ? String(error.fields.reason) : asQmError(error).message;
      const reason = `its file systems may be frozen, and could not be thawed: ${why}`;
      throw new QmError("QM_AGENT", { domain: plan.domain.name, reason }, { cause: error });
    }
  },
};

export const thaw: Step = {
  name: "thaw",
  journalled: true,
  async act({ machine }) {
    await machine.thaw();
  },
};
