import type { Command } from "commander";
import { declareSnapshotChoice, findSnapshotName, snapshotChoiceRules } from "../choose-snapshot.ts";
import type { CliContext, CommandExample } from "../context.ts";
import { reportEnd, waitForAnswer } from "../follow-operation.ts";
import type { OptionRules } from "../option-rules.ts";
import { declareRefused } from "../refused-options.ts";

interface Options {
  readonly current?: true;
  readonly running?: true;
  readonly paused?: true;
  readonly force?: true;
}

export const description = `What the domain holds now, and no snapshot has, is lost. The snapshot stays as it is: the domain goes on in new images on top
of it, so that one can come back to it. Without --running and --paused the domain is afterwards what it was when the snapshot was
taken; one without memory leaves it shut off.`;

export const rules: OptionRules = {
  ...snapshotChoiceRules,
  exclusive: [...snapshotChoiceRules.exclusive, ["--running", "--paused"]],
};

export const examples: readonly CommandExample[] = [["snapshot-revert vm s1 --running", "Go back to s1, and run"]];

export function configure(command: Command, context: CliContext): void {
  declareSnapshotChoice(command)
    .option("--running", "the domain runs afterwards")
    .option("--paused", "the domain is paused afterwards")
    .option("--force", "accept that the snapshot carries no definition of the domain")
    .action(async (domain: string, name: string | undefined, options: Options) => {
      const { current: _current, ...body } = options;
      const { client, out } = context;
      const snapshot = await findSnapshotName(context, domain, name);
      const answer = await waitForAnswer(context, domain, (signal) =>
        client.revertSnapshot(domain, snapshot, body, signal),
      );
      if (answer === undefined) return;
      const ended = reportEnd(context, answer);
      if (ended === undefined) return;
      if (context.json) out.json(ended);
      else out.line(`Domain snapshot ${snapshot} reverted`);
    });
  declareRefused(command, { "--reset-nvram": "domains have no NVRAM here" });
}
