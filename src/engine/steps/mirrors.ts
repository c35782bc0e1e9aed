import { QmError } from "../../base/errors.ts";
import { removeOwnFiles } from "./own-files.ts";
import { mirroredDisks, mirrorPaths } from "./storage-plan.ts";
import type { Step } from "./step.ts";

export const startMirrors: Step = {
  name: "start-mirrors",
  // The snapshot's fact says that mirrors may have been started.
  journalled: false,
  act: ({ dialect, monitor, plan }) => dialect.startMirrors(monitor, mirroredDisks(plan), 0),
  async undo({ dialect, monitor, plan, journal }) {
    await dialect.stopMirrors(monitor, mirroredDisks(plan));
    // Recovery comes here too when the snapshot itself was never taken.
    if (journal.has("fact", "snapshot-taken")) journal.establish("mirrors-ended");
  },
};

/** Mirrors that ended by themselves, once more; those that follow their source are left alone. */
export const restartMirrors: Step = {
  name: "restart-mirrors",
  journalled: true,
  async act({ dialect, monitor, plan }) {
    if (dialect.restartMirrors === undefined) {
      throw new QmError("QM_QEMU_TOO_OLD", { missing: "named block nodes, without which a mirror cannot start again" });
    }
    const disks = mirroredDisks(plan);
    const seen = await dialect.observe(monitor, disks);
    const ended = disks.filter((_, index) => {
      const job = seen[index]?.job;
      return job === undefined || job === "concluded";
    });
    await dialect.restartMirrors(monitor, ended);
  },
};

export const awaitReady: Step = {
  name: "await-ready",
  journalled: false,
  async act({ dialect, monitor, plan, signal, journal }) {
    await dialect.awaitReady(monitor, mirroredDisks(plan), signal);
    journal.establish("mirrored");
  },
};

/** Gives the mirrors up for good: the abort of a mirrored snapshot. */
export const stopMirrors: Step = {
  name: "stop-mirrors",
  journalled: true,
  async act({ dialect, monitor, plan, journal }) {
    await dialect.stopMirrors(monitor, mirroredDisks(plan));
    journal.establish("mirrors-ended");
  },
};

/** Deletes the mirrors' files that qmirror made, after nothing writes to them any more. */
export const removeMirrors: Step = {
  name: "remove-mirrors",
  journalled: true,
  act: ({ plan, journal }) => removeOwnFiles(journal, mirrorPaths(plan)),
};
