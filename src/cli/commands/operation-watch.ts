import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { followOperation } from "../follow-operation.ts";

export const description = "The exit code is the operation's.";

export function configure(command: Command, context: CliContext): void {
  command.argument("<id>", "the operation").action(async (id: string) => {
    const ended = await followOperation(context, id);
    if (ended !== undefined && !context.json) context.out.line(`${ended.kind} of domain '${ended.domain}' succeeded`);
  });
}
