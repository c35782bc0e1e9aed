import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { formatTime } from "../units.ts";

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("<snapshotname>", "the snapshot")
    .action(async (domain: string, name: string) => {
      const { client, out } = context;
      const snapshot = await client.getSnapshot(domain, name);
      if (context.json) return out.json(snapshot);
      out.record([
        ["Name", snapshot.name],
        ["Domain", domain],
        ["Description", snapshot.description ?? "-"],
        ["Creation Time", formatTime(snapshot.creationTime)],
        ["Current", snapshot.current ? "yes" : "no"],
        ["State", snapshot.state],
        ["Location", "external"],
        ["Parent", snapshot.parent ?? "-"],
        ["Mirrored", snapshot.mirrored ? "yes" : "no"],
      ]);
      out.line("");
      out.table(
        ["Target", "Snapshot", "Source", "Mirror"],
        snapshot.disks.map(({ target, snapshot: kind, source, mirror }) => [
          target,
          kind,
          source?.path ?? "-",
          mirror === undefined ? "-" : `${mirror.path} (${mirror.state})`,
        ]),
      );
    });
}
