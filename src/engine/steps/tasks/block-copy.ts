/** A copy of a disk that follows it: its start, and its two ends. */
import { truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { errorText, isQmError, QmError } from "../../../base/errors.ts";
import { createOverlay } from "../../../image/create.ts";
import { syncDirectory } from "../../../image/files.ts";
import { abandonCopy, cancelHeldCopy, finishCopy, holdCopy, startCopy } from "../../../qemu/block-copy.ts";
import type { Monitor } from "../../../qemu/monitor.ts";
import type { Machine } from "../machine.ts";
import { createOwnFile, removeOwnFiles } from "../own-files.ts";
import type { EndCopy, FinishCopy, HoldCopy, StartCopy } from "../task-plan.ts";
import type { TaskContext, TaskHandler } from "./task.ts";

export const startDiskCopy: TaskHandler<StartCopy> = {
  async act(task, context) {
    const { disk, copy } = task;
    await makeDestination(task, context);
    await startCopy(requireQemu(context.machine, context.plan.domain.name), copy, {
      signal: context.signal,
      bytesPerS: context.bytesPerS(),
      onProgress: (done, total) => context.reportProgress(disk, done, total),
    });
  },
  async undo({ copy, found }, { machine, journal }) {
    const monitor = machine.monitor();
    if (monitor !== undefined) await abandonCopy(monitor, copy);
    const { path } = copy.target.image;
    if (found === "missing") await removeOwnFiles(journal, [path]);
    else if (found === "file") await truncate(path, 0);
  },
};

async function makeDestination(task: StartCopy, { journal, signal }: TaskContext): Promise<void> {
  const { disk, copy, found, backing, sizeBytes } = task;
  const { image } = copy.target;
  if (found === "reused") return;
  if (found === "missing") await createOwnFile(journal, { disk, path: image.path, like: copy.source.image.path });
  if (image.format === "qcow2") {
    await createOverlay({ image, sizeBytes, signal, ...(backing === undefined ? {} : { backing }) });
  } else if (found !== "block") await truncate(image.path, sizeBytes);
  // Its contents are flushed with the job, before anything depends on them.
  await syncDirectory(dirname(image.path));
}

/** What QEMU says of its job: the copy is given up then, and the guest stays where it is. */
const refusals = ["QM_QMP_COMMAND", "QM_JOB_FAILED", "QM_TIMEOUT", "QM_MIRROR_BROKEN"] as const;

export const holdReadyCopy: TaskHandler<HoldCopy> = {
  async act({ copy, timeoutMs }, { machine, plan }) {
    try {
      await holdCopy(requireQemu(machine, plan.domain.name), copy, timeoutMs);
    } catch (error) {
      if (!refusals.some((code) => isQmError(error, code))) throw error;
      throw new QmError("QM_PIVOT_REFUSED", { reason: errorText(error) }, { cause: error });
    }
  },
  async undo({ disk, copy }, { machine, journal }) {
    const monitor = machine.monitor();
    if (monitor !== undefined) await cancelHeldCopy(monitor, copy);
    journal.establish({ endedCopies: [disk] });
  },
};

export const finishHeldCopy: TaskHandler<FinishCopy> = {
  async act({ disk, copy }, { machine, journal }) {
    const monitor = machine.monitor();
    // It died after the decision: the copy equalled the source then, and took every later write.
    if (monitor === undefined) return;
    const failure = await finishCopy(monitor, copy);
    if (failure === undefined) return;
    journal.retract({ images: [{ disk, from: copy.target.image.path, to: copy.source.image }] });
    throw new QmError("QM_JOB_FAILED", { disk, job: "switching to the copy", reason: failure.reason });
  },
};

export const endCopy: TaskHandler<EndCopy> = {
  async act({ copy }, { machine }) {
    const monitor = machine.monitor();
    if (monitor !== undefined) await abandonCopy(monitor, copy);
  },
};

function requireQemu(machine: Machine, domain: string): Monitor {
  const monitor = machine.monitor();
  if (monitor === undefined) throw new QmError("QM_DOMAIN_NOT_RUNNING", { domain });
  return monitor;
}
