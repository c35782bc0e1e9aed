import type { Command } from "commander";
import { declareSnapshotChoice, findSnapshotName, snapshotChoiceRules } from "../choose-snapshot.ts";
import type { CliContext } from "../context.ts";
import { formatTime } from "../units.ts";

export const description = `Prints virsh's lines, then what virsh does not have: the description, the time, the memory's file, and each disk with its mirror.`;

export const rules = snapshotChoiceRules;

export function configure(command: Command, context: CliContext): void {
  declareSnapshotChoice(command).action(async (domain: string, name: string | undefined) => {
    const { client, out } = context;
    const chosen = await findSnapshotName(context, domain, name);
    const [snapshot, { name: domainName }] = await Promise.all([
      client.getSnapshot(domain, chosen),
      client.getDomain(domain),
    ]);
    if (context.json) return out.json(snapshot);
    out.record([
      ["Name", snapshot.name],
      ["Domain", domainName],
      ["Current", snapshot.current ? "yes" : "no"],
      ["State", snapshot.state],
      ["Location", snapshot.location],
      ["Parent", snapshot.parent ?? "-"],
      ["Children", String(snapshot.children)],
      ["Descendants", String(snapshot.descendants)],
      ["Metadata", "yes"],
    ]);
    out.line("");
    out.record([
      ["Description", snapshot.description ?? "-"],
      ["Creation Time", formatTime(snapshot.creationTime)],
      ["Memory", snapshot.memory?.file ?? snapshot.memory?.snapshot ?? "no"],
      ["Mirrored", snapshot.mirrored ? "yes" : "no"],
      ...(snapshot.deleting === true ? [["Deleting", "begun, not finished"] as const] : []),
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
