import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { declareScope, scopeRules, toDeviceScope, type ScopeOptions } from "../device-scope.ts";
import { findDiskTarget } from "../find-disk.ts";

export const rules = scopeRules;

export function configure(command: Command, context: CliContext): void {
  command.argument("<domain>", "name or uuid").argument("<target>", "the disk: its target, or the path of its image");
  declareScope(command).action(async (domain: string, disk: string, options: ScopeOptions) => {
    const { client, out } = context;
    const target = await findDiskTarget(context, domain, disk);
    await client.detachDisk(domain, target, toDeviceScope(options));
    if (context.json) out.json({ domain, target });
    else out.line("Disk detached successfully");
  });
}
