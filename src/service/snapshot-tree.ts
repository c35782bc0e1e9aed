/** The tree of a domain's snapshots: who stands on whom, and virsh's ways of listing it. Linear in the number of snapshots. */
import type { SnapshotFilter, SnapshotView } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import type { SnapshotEntry } from "./domain-entry.ts";
import { viewSnapshot } from "./views.ts";

type Children = ReadonlyMap<string | undefined, readonly SnapshotEntry[]>;

function groupByParent(all: readonly SnapshotEntry[]): Children {
  return Map.groupBy(all, ({ document }) => document.parent);
}

/** Everything below the snapshot, parents before their children. */
export function descendantsOf(all: readonly SnapshotEntry[], name: string): SnapshotEntry[] {
  return walk(groupByParent(all), name);
}

/** Depth first, without recursion: a chain may be deeper than the call stack. */
function walk(children: Children, from: string | undefined): SnapshotEntry[] {
  const found: SnapshotEntry[] = [];
  const waiting = (children.get(from) ?? []).toReversed();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    found.push(next);
    waiting.push(...(children.get(next.name) ?? []).toReversed());
  }
  return found;
}

/** Views of the snapshots that `filter` lets through. `QM_NO_SNAPSHOT` for an unknown `from`. */
export function listSnapshots(
  domain: string,
  entries: readonly SnapshotEntry[],
  filter: SnapshotFilter = {},
): SnapshotView[] {
  const all = entries.toSorted((a, b) => compareNames(a.name, b.name));
  const { from } = filter;
  if (from !== undefined && !all.some(({ name }) => name === from)) {
    throw new QmError("QM_NO_SNAPSHOT", { domain, snapshot: from });
  }
  const children = groupByParent(all);
  const ordered = walk(children, undefined);
  const counts = countDescendants(ordered);
  const below =
    from === undefined ? undefined : filter.descendants === true ? walk(children, from) : children.get(from);
  const wanted = below ?? (from === undefined ? (filter.topological === true ? ordered : all) : []);
  const sorted =
    below === undefined || filter.topological === true
      ? wanted
      : wanted.toSorted((a, b) => compareNames(a.name, b.name));
  return sorted
    .map((entry) => viewSnapshot(entry, children.get(entry.name)?.length ?? 0, counts.get(entry.name) ?? 0))
    .filter((view) => passes(view, filter));
}

function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function countDescendants(ordered: readonly SnapshotEntry[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { name, document } of ordered.toReversed()) {
    if (document.parent === undefined) continue;
    counts.set(document.parent, (counts.get(document.parent) ?? 0) + (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

/** Conditions of one kind (where its data is, what the domain did, where it stands) are alternatives, as in libvirt. */
function passes(view: SnapshotView, filter: SnapshotFilter): boolean {
  const { roots, leaves, noLeaves, metadata, noMetadata, inactive, active, diskOnly, internal, external } = filter;
  if (roots === true && filter.from === undefined && view.parent !== undefined) return false;
  if (!anyOf([leaves, view.children === 0], [noLeaves, view.children > 0])) return false;
  if (!anyOf([metadata, true], [noMetadata, false])) return false;
  const { state } = view;
  const isActive = state === "running" || state === "paused";
  if (!anyOf([inactive, state === "shutoff"], [active, isActive], [diskOnly, state === "disk-snapshot"])) return false;
  return anyOf(
    [internal, view.location === "internal"],
    [external, view.location === "external" || view.location === "mixed"],
  );
}

/** Whether one of the conditions that are asked for holds, or none is asked for. */
function anyOf(...conditions: readonly (readonly [asked: boolean | undefined, holds: boolean])[]): boolean {
  const asked = conditions.filter(([wanted]) => wanted === true);
  return asked.length === 0 || asked.some(([, holds]) => holds);
}

/** The view of one snapshot among all of its domain. */
export function viewOne(all: readonly SnapshotEntry[], entry: SnapshotEntry): SnapshotView {
  const children = groupByParent(all);
  return viewSnapshot(entry, children.get(entry.name)?.length ?? 0, walk(children, entry.name).length);
}
