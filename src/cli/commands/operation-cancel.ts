import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export const description = "A pivot that is decided can no longer be cancelled.";

export function configure(command: Command, context: CliContext): void {
  command.argument("<id>", "the operation").action(async (id: string) => {
    const { client, out } = context;
    const view = await client.cancelOperation(id);
    if (context.json) out.json(view);
    else out.line(`${view.kind} of domain '${view.domain}' is ${view.state}`);
  });
}
