import type { Command } from "commander";
import { usageError, type CliContext } from "../context.ts";
import { followOperation, reportEnd, waitForAnswer } from "../follow-operation.ts";

interface Options {
  readonly mirrorPivot?: true;
  readonly mirrorAbort?: true;
}

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("<snapshotname>", "the mirrored snapshot")
    .option("--mirror-pivot", "switch every disk to its mirror, all or none")
    .option("--mirror-abort", "give the mirrors up and stay on the source")
    .action(async (domain: string, snapshot: string, options: Options) => {
      const how = chooseEnd(options);
      const { client, out } = context;
      const answer = await waitForAnswer(context, domain, (signal) => client.endMirrors(domain, snapshot, how, signal));
      if (answer === undefined) return;
      const ended = answer.state === "running" ? await followOperation(context, answer.id) : reportEnd(context, answer);
      if (ended === undefined) return;
      if (context.json) {
        // A followed operation has printed its final state already.
        if (answer.state !== "running") out.json(ended);
      } else if (how === "pivot") out.line(`Domain '${domain}' runs on the mirrors of snapshot ${snapshot} now`);
      else out.line(`Mirrors of snapshot ${snapshot} given up; domain '${domain}' stays on its source`);
    });
}

function chooseEnd({ mirrorPivot, mirrorAbort }: Options): "pivot" | "abort" {
  if (mirrorPivot === mirrorAbort) {
    throw usageError(
      mirrorPivot === true
        ? "--mirror-pivot and --mirror-abort exclude each other"
        : "one of --mirror-pivot and --mirror-abort is required: deleting a snapshot's data is not available in this version",
    );
  }
  return mirrorPivot === true ? "pivot" : "abort";
}
