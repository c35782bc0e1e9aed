/** Which snapshot a command is about: virsh's `SNAPSHOTNAME | --current`. */
import type { Command } from "commander";
import type { CliContext } from "./context.ts";

export const snapshotArgument = "--snapshotname";

/** Rules of a command that takes either of them, and needs one. */
export const snapshotChoiceRules = {
  exclusive: [[snapshotArgument, "--current"]],
  oneOf: [[snapshotArgument, "--current"]],
} as const;

/** Declares the domain, the snapshot and `--current`. */
export function declareSnapshotChoice(command: Command): Command {
  return command
    .argument("<domain>", "name or uuid")
    .argument("[snapshotname]", "the snapshot")
    .option("--current", "the current snapshot");
}

/** The name that was given; otherwise the current snapshot's, which is asked for. Rejects with `QM_NO_CURRENT_SNAPSHOT`. */
export async function findSnapshotName(
  context: CliContext,
  domain: string,
  given: string | undefined,
): Promise<string> {
  return given || (await context.client.currentSnapshot(domain)).name;
}
