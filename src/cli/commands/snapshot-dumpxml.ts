import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("<snapshotname>", "the snapshot")
    .option("--security-info", "accepted for virsh's sake: qmirror keeps no secrets in XML")
    .action(async (domain: string, snapshot: string) => {
      const { client, out } = context;
      const xml = await client.snapshotXml(domain, snapshot);
      if (context.json) out.json({ xml });
      else out.document(xml);
    });
}
