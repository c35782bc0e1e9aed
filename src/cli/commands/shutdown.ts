import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { declarePowerModes, type PowerOptions } from "../power-modes.ts";

export const description = `It returns when the guest was asked, which may take its time or ignore it.`;

export function configure(command: Command, context: CliContext): void {
  declarePowerModes(command).action(async (domain: string, options: PowerOptions) => {
    const { client, out } = context;
    await client.shutdownDomain(domain, options.mode === undefined ? {} : { modes: options.mode });
    if (context.json) out.json({ domain });
    else out.line(`Domain '${domain}' is being shutdown`);
  });
}
