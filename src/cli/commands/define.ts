import type { Command } from "commander";
import { readUserFile, type CliContext } from "../context.ts";

export function configure(command: Command, context: CliContext): void {
  command.argument("<file>", "a <domain> document").action(async (file: string) => {
    const { client, out } = context;
    const domain = await client.defineDomain(readUserFile(context, file));
    if (context.json) out.json(domain);
    else out.line(`Domain '${domain.name}' defined from ${file}`);
  });
}
