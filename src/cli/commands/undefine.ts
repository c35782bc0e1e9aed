import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export const description = "Its disks stay.";

export function configure(command: Command, context: CliContext): void {
  command.argument("<domain>", "name or uuid").action(async (domain: string) => {
    const { client, out } = context;
    await client.undefineDomain(domain);
    if (context.json) out.json({ domain });
    else out.line(`Domain '${domain}' has been undefined`);
  });
}
