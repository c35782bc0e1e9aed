import type { Command } from "commander";
import type { LayerFate, SnapshotDeleteBody, SnapshotDeletedView } from "../../client/index.ts";
import { declareSnapshotChoice, findSnapshotName, snapshotChoiceRules } from "../choose-snapshot.ts";
import type { CliContext, CommandExample } from "../context.ts";
import { followOperation, reportEnd, waitForAnswer } from "../follow-operation.ts";
import { formatBytes } from "../units.ts";
import type { OptionRules } from "../option-rules.ts";

interface Options {
  readonly children?: true;
  readonly childrenOnly?: true;
  readonly metadata?: true;
  readonly preview?: true;
  readonly mirrorPivot?: true;
  readonly mirrorAbort?: true;
}

export const description = `The data of a deleted snapshot is merged into what needs it; a layer that has to stay is named with the reason. With
--mirror-pivot or --mirror-abort nothing is deleted: the snapshot's mirrors end, and the snapshot stays.`;

export const rules: OptionRules = {
  oneOf: snapshotChoiceRules.oneOf,
  exclusive: [
    ...snapshotChoiceRules.exclusive,
    ["--children", "--children-only"],
    ["--mirror-pivot", "--mirror-abort"],
  ],
  excludes: {
    "--mirror-pivot": ["--children", "--children-only", "--metadata", "--preview"],
    "--mirror-abort": ["--children", "--children-only", "--metadata", "--preview"],
  },
};

export const examples: readonly CommandExample[] = [
  ["snapshot-delete vm s1 --children --preview", "See what deleting s1 and all below it would move"],
  ["snapshot-delete vm s1 --mirror-pivot", "Switch all disks to the mirrors of s1"],
];

export function configure(command: Command, context: CliContext): void {
  declareSnapshotChoice(command)
    .option("--children", "delete all that is below it too")
    .option("--children-only", "delete all that is below it, and keep it")
    .option("--metadata", "forget it, and leave all images as they are")
    .option("--preview", "print what would be merged into what, and do nothing")
    .option("--mirror-pivot", "switch every disk to its mirror, all or none")
    .option("--mirror-abort", "give the mirrors up and stay on the source")
    .action(async (domain: string, name: string | undefined, options: Options) => {
      const snapshot = await findSnapshotName(context, domain, name);
      if (options.mirrorPivot === true) await endMirrors(context, domain, snapshot, "pivot");
      else if (options.mirrorAbort === true) await endMirrors(context, domain, snapshot, "abort");
      else await deleteSnapshot(context, domain, snapshot, options);
    });
}

async function endMirrors(context: CliContext, domain: string, snapshot: string, how: "pivot" | "abort") {
  const { client, out } = context;
  const answer = await waitForAnswer(context, domain, async (signal) => ({
    operation: await client.endMirrors(domain, snapshot, how, signal),
  }));
  if (answer === undefined) return;
  const { operation } = answer;
  if (operation !== undefined) {
    const isRunning = operation.state === "running";
    const ended = isRunning ? await followOperation(context, operation.id) : reportEnd(context, operation);
    // A followed operation has printed its final state already.
    if (ended === undefined || (context.json && isRunning)) return;
  }
  if (context.json) out.json(operation ?? { domain, snapshot, mirror: how });
  else if (how === "pivot") out.line(`Domain '${domain}' runs on the mirrors of snapshot ${snapshot} now`);
  else out.line(`Mirrors of snapshot ${snapshot} given up; domain '${domain}' stays on its source`);
}

async function deleteSnapshot(context: CliContext, domain: string, snapshot: string, options: Options) {
  const { client, json, out } = context;
  const body: SnapshotDeleteBody = {
    ...(options.children === true ? { children: true } : {}),
    ...(options.childrenOnly === true ? { childrenOnly: true } : {}),
    ...(options.metadata === true ? { metadataOnly: true } : {}),
  };
  if (options.preview === true) {
    const preview = await client.previewDelete(domain, snapshot, body);
    if (json) out.json(preview);
    else showPreview(context, preview);
    return;
  }
  const answer = await waitForAnswer(context, domain, (signal) =>
    client.deleteSnapshot(domain, snapshot, body, signal),
  );
  if (answer === undefined) return;
  if (answer.operation !== undefined && reportEnd(context, answer.operation) === undefined) return;
  if (json) return out.json(answer);
  out.line(`Domain snapshot ${snapshot} ${options.childrenOnly === true ? "children deleted" : "deleted"}`);
  for (const layer of answer.layers.filter(({ fate }) => fate === "keep")) {
    out.line(`Layer ${layer.path} of disk ${layer.disk} is kept: ${layer.reason ?? "it is needed"}`);
  }
}

function showPreview({ out }: CliContext, { deleted, layers }: SnapshotDeletedView): void {
  out.line(deleted.length === 0 ? "No snapshot would be deleted" : `Would be deleted: ${deleted.join(", ")}`);
  out.line("");
  if (layers.length > 0) out.table(["Disk", "Layer", "What", "Into", "At most"], layers.map(toRow));
  const bytes = layers.reduce((sum, layer) => sum + (layer.bytes ?? 0), 0);
  out.line(`At most ${formatBytes(bytes)} would be moved`);
}

function toRow({ disk, path, fate, into, bytes, reason }: LayerFate): string[] {
  return [
    disk,
    path,
    reason === undefined ? fate : `${fate}: ${reason}`,
    into ?? "-",
    bytes === undefined ? "-" : formatBytes(bytes),
  ];
}
