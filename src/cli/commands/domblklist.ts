import type { Command } from "commander";
import type { DiskView } from "../../client/index.ts";
import type { CliContext } from "../context.ts";

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .option("--details", "types, devices and mirrors too")
    .action(async (domain: string, options: { readonly details?: true }) => {
      const { client, out } = context;
      const disks = await client.domainDisks(domain);
      if (context.json) out.json(disks);
      else if (options.details === true) {
        out.table(["Type", "Device", "Target", "Source", "Mirror"], disks.map(toDetailedRow));
      } else out.table(["Target", "Source"], disks.map(toRow));
    });
}

function toRow(disk: DiskView): string[] {
  return [disk.target, disk.chain[0]?.path ?? "-"];
}

function toDetailedRow(disk: DiskView): string[] {
  const { mirror } = disk;
  const source = disk.chain[0];
  const mirrorText = mirror === undefined ? "-" : `${mirror.path} (${mirror.state})`;
  return [source?.type ?? "file", disk.device, disk.target, source?.path ?? "-", mirrorText];
}
