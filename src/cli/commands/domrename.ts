import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid of a persistent domain that is not running")
    .argument("<new-name>", "its new name")
    .action(async (domain: string, newName: string) => {
      const { client, out } = context;
      const view = await client.renameDomain(domain, newName);
      if (context.json) out.json(view);
      else out.line("Domain successfully renamed");
    });
}
