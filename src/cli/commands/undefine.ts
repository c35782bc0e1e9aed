import type { Command } from "commander";
import type { CliContext } from "../context.ts";

interface Options {
  readonly snapshotsMetadata?: true;
}

export const description = "Its disks stay, and so do the images of its snapshots.";

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .option("--snapshots-metadata", "forget its snapshots too; refused otherwise while it has any")
    .action(async (domain: string, options: Options) => {
      const { client, out } = context;
      await client.undefineDomain(domain, options);
      if (context.json) out.json({ domain });
      else out.line(`Domain '${domain}' has been undefined`);
    });
}
