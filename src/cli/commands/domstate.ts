import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .option("--reason", "how it came to this state too")
    .action(async (domain: string, options: { readonly reason?: true }) => {
      const { client, out } = context;
      const { state, reason } = await client.domainInfo(domain);
      if (context.json) out.json({ state, reason });
      else out.line(options.reason === true ? `${state} (${reason})` : state);
    });
}
