import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { reportEnd, waitForAnswer } from "../follow-operation.ts";

export const description = `Over the files that they had. Ends when every mirror is ready.`;

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("<snapshotname>", "the mirrored snapshot")
    .action(async (domain: string, snapshot: string) => {
      const { client, out } = context;
      const answer = await waitForAnswer(context, domain, (signal) => client.restartMirrors(domain, snapshot, signal));
      if (answer === undefined) return;
      const ended = reportEnd(context, answer);
      if (ended === undefined) return;
      if (context.json) out.json(ended);
      else out.line(`Mirrors of snapshot ${snapshot} are ready`);
    });
}
