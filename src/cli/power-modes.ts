/** The ways to ask a guest, which `shutdown` and `reboot` share. */
import type { Command } from "commander";
import type { ShutdownBody } from "../client/index.ts";
import { usageError } from "./context.ts";

export interface PowerOptions {
  readonly mode?: NonNullable<ShutdownBody["modes"]>;
}

export function declarePowerModes(command: Command): Command {
  return command
    .argument("<domain>", "name or uuid")
    .option(
      "--mode <name>",
      "acpi or agent, or both in the order of their trial: agent,acpi (default: the agent where there is one)",
      parsePowerModes,
    );
}

function parsePowerModes(text: string): NonNullable<ShutdownBody["modes"]> {
  const modes = text.split(",").map((word) => {
    if (word === "acpi" || word === "agent") return word;
    throw usageError(`--mode '${word}' is unknown: QEMU's guests are asked by 'acpi' or by 'agent'`);
  });
  if (new Set(modes).size < modes.length) throw usageError(`--mode '${text}' names a way twice`);
  return modes;
}
