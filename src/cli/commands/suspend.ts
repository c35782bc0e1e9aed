import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export function configure(command: Command, context: CliContext): void {
  command.argument("<domain>", "name or uuid").action(async (domain: string) => {
    const { client, out } = context;
    const view = await client.suspendDomain(domain);
    if (context.json) out.json(view);
    else out.line(`Domain '${view.name}' suspended`);
  });
}
