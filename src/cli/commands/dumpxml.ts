import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .option("--inactive", "the definition that the next start uses")
    .action(async (domain: string, options: { readonly inactive?: true }) => {
      const { client, out } = context;
      const xml = await client.domainXml(domain, { inactive: options.inactive === true });
      if (context.json) out.json({ xml });
      else out.document(xml);
    });
}
