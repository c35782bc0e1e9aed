import type { Command } from "commander";
import { snapshotArgument } from "../choose-snapshot.ts";
import type { CliContext } from "../context.ts";
import type { OptionRules } from "../option-rules.ts";

export const description = `Without SNAPSHOTNAME: prints the current snapshot's XML. With it: makes that one the current snapshot, which the next snapshot has as
its parent. No disk is touched.`;

export const rules: OptionRules = { exclusive: [["--name", snapshotArgument]] };

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("[snapshotname]", "the snapshot that becomes the current one")
    .option("--name", "print its name only")
    .option("--security-info", "accepted for virsh's sake: qmirror keeps no secrets in XML")
    .action(async (domain: string, chosen: string | undefined, options: { readonly name?: true }) => {
      const { client, json, out } = context;
      if (chosen) {
        const snapshot = await client.setCurrentSnapshot(domain, chosen);
        if (json) out.json(snapshot);
        else out.line(`Snapshot ${snapshot.name} set as current`);
        return;
      }
      const snapshot = await client.currentSnapshot(domain);
      if (options.name === true) {
        if (json) out.json({ name: snapshot.name });
        else out.line(snapshot.name);
        return;
      }
      const xml = await client.snapshotXml(domain, snapshot.name);
      if (json) out.json({ xml });
      else out.document(xml);
    });
}
