/** What is done to the domain's QEMU as a whole. */
import { QmError } from "../../../base/errors.ts";
import type { Monitor } from "../../../qemu/monitor.ts";
import type { Machine } from "../machine.ts";
import { resume, saveMemoryFile as writeMemory, undoSave } from "../save-memory.ts";
import type { ResumeGuest, SaveMemory, StartMachine, StopMachine } from "../task-plan.ts";
import type { TaskHandler } from "./task.ts";

export const saveMemory: TaskHandler<SaveMemory> = {
  act: (task, context) => writeMemory(requireRunning(context.machine, context.plan.domain.name), task, context),
  undo: undoSave,
};

export const stopMachine: TaskHandler<StopMachine> = { act: (_, { machine }) => machine.stop() };

export const startMachine: TaskHandler<StartMachine> = {
  async act({ definition, memoryFile }, { machine }) {
    // Again after a crash: the QEMU that was started then may run.
    if (machine.monitor() !== undefined) await machine.stop();
    await machine.start(definition, { paused: true, ...(memoryFile === undefined ? {} : { memoryFile }) });
  },
};

export const resumeGuest: TaskHandler<ResumeGuest> = { act: (_, { machine }) => resume(machine) };

function requireRunning(machine: Machine, domain: string): Monitor {
  const monitor = machine.monitor();
  if (monitor === undefined) throw new QmError("QM_DOMAIN_NOT_RUNNING", { domain });
  return monitor;
}
