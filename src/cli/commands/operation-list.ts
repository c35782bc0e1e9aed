import type { Command } from "commander";
import type { OperationView } from "../../client/index.ts";
import type { CliContext } from "../context.ts";
import { formatPercent, nameStep, sumProgress } from "../progress.ts";
import { formatTime } from "../units.ts";

export const description = "Newest first.";

export function configure(command: Command, context: CliContext): void {
  command
    .argument("[domain]", "name or uuid (default: all)")
    .option("--running", "only those that have not ended")
    .action(async (domain: string | undefined, { running }: { readonly running?: true }) => {
      const { client, out } = context;
      const operations = await client.listOperations({ domain: domain || undefined, running });
      if (context.json) out.json(operations);
      else out.table(["Id", "Kind", "Domain", "State", "Step", "Done", "Started"], operations.map(toRow));
    });
}

function toRow(view: OperationView): string[] {
  const { doneBytes, totalBytes } = sumProgress(view);
  const done = formatPercent(doneBytes, totalBytes);
  return [view.id, view.kind, view.domain, view.state, nameStep(view), done, formatTime(view.startedAt)];
}
