import { QmError } from "../../src/base/errors.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";

/** A monitor that gives these answers and refuses every other command, as a QEMU does that lacks it. */
export function cannedMonitor(answers: Readonly<Record<string, unknown>>): Monitor & { readonly asked: string[] } {
  const asked: string[] = [];
  const execute = (command: string): Promise<unknown> => {
    asked.push(command);
    if (Object.hasOwn(answers, command)) return Promise.resolve(answers[command]);
    const reason = `The command ${command} has not been found`;
    return Promise.reject(new QmError("QM_QMP_COMMAND", { command, class: "CommandNotFound", reason }));
  };
  return { execute, asked } as unknown as Monitor & { readonly asked: string[] };
}
