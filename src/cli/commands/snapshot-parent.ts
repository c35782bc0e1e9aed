import type { Command } from "commander";
import { QmError } from "../../base/errors.ts";
import { declareSnapshotChoice, findSnapshotName, snapshotChoiceRules } from "../choose-snapshot.ts";
import type { CliContext } from "../context.ts";

export const rules = snapshotChoiceRules;

export function configure(command: Command, context: CliContext): void {
  declareSnapshotChoice(command).action(async (domain: string, name: string | undefined) => {
    const { client, out } = context;
    const snapshot = await findSnapshotName(context, domain, name);
    const { parent } = await client.getSnapshot(domain, snapshot);
    if (parent === undefined) throw new QmError("QM_NO_PARENT_SNAPSHOT", { snapshot });
    if (context.json) out.json({ parent });
    else out.line(parent);
  });
}
