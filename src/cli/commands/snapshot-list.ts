import type { Command } from "commander";
import type { SnapshotView } from "../../client/index.ts";
import { usageError, type CliContext } from "../context.ts";
import { formatTime } from "../units.ts";

interface Options {
  readonly name?: true;
  readonly parent?: true;
  readonly tree?: true;
}

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .option("--name", "names only")
    .option("--parent", "a column with each one's parent")
    .option("--tree", "as a tree")
    .action(async (domain: string, options: Options) => {
      const { client, out } = context;
      if (Object.keys(options).length > 1) throw usageError("--name, --parent and --tree exclude each other");
      const snapshots = await client.listSnapshots(domain);
      if (context.json) out.json(snapshots);
      else if (options.name === true) for (const { name } of snapshots) out.line(name);
      else if (options.tree === true) for (const line of formatTree(snapshots)) out.line(line);
      else if (options.parent === true) {
        out.table(
          ["Name", "Creation Time", "State", "Parent"],
          snapshots.map((one) => [...toRow(one), one.parent ?? ""]),
        );
      } else out.table(["Name", "Creation Time", "State"], snapshots.map(toRow));
    });
}

function toRow({ name, creationTime, state, mirrored }: SnapshotView): string[] {
  return [name, formatTime(creationTime), mirrored ? `${state}, mirrored` : state];
}

/** A line for each snapshot below its parent; one whose parent is not listed stands at the root. */
export function formatTree(snapshots: readonly SnapshotView[]): string[] {
  const names = new Set(snapshots.map(({ name }) => name));
  const childrenOf = Map.groupBy(snapshots, ({ parent }) =>
    parent !== undefined && names.has(parent) ? parent : undefined,
  );
  const lines: string[] = [];
  // Levels are worked off with a list of our own: a chain may be deeper than the call stack.
  const waiting = (childrenOf.get(undefined) ?? []).toReversed().map(({ name }) => ({ name, depth: 0 }));
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { name, depth } = next;
    lines.push(depth === 0 ? name : `${"  ".repeat(depth - 1)}+- ${name}`);
    waiting.push(...(childrenOf.get(name) ?? []).toReversed().map((child) => ({ name: child.name, depth: depth + 1 })));
  }
  return lines;
}
