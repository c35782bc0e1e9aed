import { removeFile } from "../../image/files.ts";
import { mirroredDisks, type StoragePlan } from "./storage-plan.ts";
import type { Step } from "./step.ts";

export const startMirrors: Step = {
  name: "start-mirrors",
  journalled: true,
  act: ({ dialect, monitor, plan }) => dialect.startMirrors(monitor, mirroredDisks(plan), 0),
  async undo({ dialect, monitor, plan, journal }) {
    await dialect.stopMirrors(monitor, mirroredDisks(plan));
    journal.establish("mirrors-ended");
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
  act: ({ plan }) => removeMirrorFiles(plan),
};

export async function removeMirrorFiles(plan: StoragePlan): Promise<void> {
  const mirrors = new Set(mirroredDisks(plan).map((disk) => disk.mirror.image.path));
  const ours = plan.files.filter((file) => !file.existed && mirrors.has(file.path));
  await Promise.all(ours.map((file) => removeFile(file.path)));
}
