import type { Command } from "commander";
import type { SnapshotFilter, SnapshotView } from "../../client/index.ts";
import type { CliContext, CommandExample } from "../context.ts";
import { plainOption } from "../plain-option.ts";
import { drawTree } from "../snapshot-tree.ts";
import { formatTime } from "../units.ts";
import type { OptionRules } from "../option-rules.ts";

interface Options extends SnapshotFilter {
  readonly name?: true;
  readonly parent?: true;
  readonly tree?: true;
  readonly current?: true;
}

export const description = `Sorted by name. --from and --current list children; with --descendants, or --tree, all that is below. Several options of one kind
(--inactive, --active and --disk-only; --internal and --external) list what fits any of them.`;

export const rules: OptionRules = {
  exclusive: [
    ["--parent", "--roots", "--tree"],
    ["--from", "--current"],
  ],
  excludes: {
    "--tree": [
      "--name",
      "--leaves",
      "--no-leaves",
      "--inactive",
      "--active",
      "--disk-only",
      "--internal",
      "--external",
    ],
    "--roots": ["--from", "--current"],
  },
  requires: { "--descendants": ["--from", "--current"] },
};

export const examples: readonly CommandExample[] = [
  ["snapshot-list vm --tree", "Draw the tree"],
  ["snapshot-list vm --from s1 --descendants --name", "Names of all that is below s1"],
];

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .option("--parent", "a column with each one's parent")
    .option("--roots", "only those without a parent")
    .option("--leaves", "only those without children")
    .addOption(plainOption("--no-leaves", "only those with children"))
    .option("--metadata", "only those that qmirror keeps a record of: all")
    .addOption(plainOption("--no-metadata", "only those that qmirror keeps no record of: none"))
    .option("--inactive", "only those of a domain that was shut off")
    .option("--active", "only those with memory")
    .option("--disk-only", "only those of a running domain without its memory")
    .option("--internal", "only those within the disks' own images")
    .option("--external", "only those in files of their own")
    .option("--tree", "draw a tree of names")
    .option("--from <snapshotname>", "only the children of this snapshot")
    .option("--current", "only the children of the current snapshot")
    .option("--descendants", "all below it in place of its children")
    .option("--name", "names only")
    .option("--topological", "parents before their children")
    .action(async (domain: string, options: Options) => {
      const { json, out } = context;
      const snapshots = await findSnapshots(context, domain, options);
      if (json) out.json(snapshots);
      else if (options.tree === true) out.lines(drawTree(snapshots));
      else if (options.name === true) out.lines(snapshots.map(({ name }) => name));
      else if (options.parent === true) {
        out.table(
          ["Name", "Creation Time", "State", "Parent"],
          snapshots.map((one) => [...toRow(one), one.parent ?? ""]),
        );
      } else out.table(["Name", "Creation Time", "State"], snapshots.map(toRow));
    });
}

/** What the options ask for. A tree begins with the snapshot that it is drawn from; other lists are without it. */
async function findSnapshots(context: CliContext, domain: string, options: Options): Promise<SnapshotView[]> {
  const { client } = context;
  const { name: _name, parent: _parent, tree, current, ...filter } = options;
  const from = current === true ? (await client.currentSnapshot(domain)).name : options.from;
  if (from === undefined) return client.listSnapshots(domain, filter);
  if (tree !== true) return client.listSnapshots(domain, { ...filter, from });
  const [root, below] = await Promise.all([
    client.getSnapshot(domain, from),
    client.listSnapshots(domain, { ...filter, from, descendants: true }),
  ]);
  return [root, ...below];
}

function toRow({ name, creationTime, state, mirrored, deleting }: SnapshotView): string[] {
  const marks = [state, mirrored ? "mirrored" : "", deleting === true ? "deleting" : ""].filter((mark) => mark !== "");
  return [name, formatTime(creationTime), marks.join(", ")];
}
