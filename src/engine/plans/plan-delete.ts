/** Deletes snapshots anywhere in the tree: their names, and every layer that nobody needs without them. Pure. */
import type { Snapshot, SnapshotDisk } from "../../model/snapshot.ts";
import type { SnapshotChange, Task, TaskPlan } from "../steps/task-plan.ts";
import { LayerTree, madeReason, type RecordedLayer, type TreeInput } from "./layer-tree.ts";
import { planCollection, type Fate } from "./plan-collect.ts";

export interface DeleteInput {
  readonly id: string;
  readonly domain: TaskPlan["domain"];
  readonly tree: TreeInput;
  /** Names; no snapshot that is not in `tree` among them. */
  readonly names: ReadonlySet<string>;
  /** Deleting them has begun earlier. */
  readonly deleting: ReadonlySet<string>;
  readonly current?: string;
  readonly bytesPerS: number;
  /** How the guest opens its disks, by target. */
  readonly discard?: ReadonlyMap<string, "ignore" | "unmap">;
}

export interface DeletePlan {
  readonly plan: TaskPlan;
  readonly fates: readonly Fate[];
}

/**
 * The first task marks the snapshots: from then on they can only be deleted. Layers are merged one after the other, each with what
 * it means for the definitions and the snapshots that remain; the names go last. What was done stays done when it is stopped.
 */
export function planDelete(input: DeleteInput): DeletePlan {
  const { id, names, deleting } = input;
  const tree = new LayerTree(input.tree);
  const removed = input.tree.snapshots.filter(({ name }) => names.has(name));
  for (const snapshot of removed) {
    tree.snapshots.delete(snapshot.name);
    tree.departing.set(snapshot.name, snapshot);
  }
  // Not their overlays: one of those is active, another's base, recorded, or the user has disconnected it.
  const bases = removed.flatMap(({ disks }) => disks.filter(isExternal).flatMap(({ base }) => base?.path ?? []));
  const recorded = [...tree.recorded.keys()];
  const missing = recorded.filter((path) => tree.find(path) === undefined);
  const left = recorded.filter((path) => tree.isLeft(path));
  const internal = removed.flatMap((snapshot, index) => deleteInternal(snapshot, `qm-${id}-i${index}`, input.discard));
  // Freed first: a layer with internal snapshots cannot be merged.
  forgetTags(tree, removed);
  const collected = planCollection(tree, [...bases, ...left], { id, deleting, merge: true });
  const memory = removed.flatMap(({ memory: saved }): Task[] =>
    saved?.file === undefined
      ? []
      : [{ task: "remove-file", disk: "memory", image: { type: "file", path: saved.file, format: "raw" } }],
  );
  const parents = new Map(input.tree.snapshots.map(({ name, parent }) => [name, parent]));
  const heir = remainingAncestor(input.current, parents, names);
  const orphans = [...tree.snapshots.values()].flatMap((snapshot): SnapshotChange[] => {
    const parent = remainingAncestor(snapshot.parent, parents, names);
    if (parent === snapshot.parent) return [];
    const { parent: _gone, ...rest } = snapshot;
    const document = parent === undefined ? rest : { ...rest, parent };
    return [{ document, deleting: deleting.has(snapshot.name) }];
  });
  return {
    fates: collected.fates,
    plan: {
      family: "tasks",
      id,
      domain: input.domain,
      tasks: [
        { task: "establish", change: { snapshots: removed.map((document) => ({ document, deleting: true })) } },
        ...internal,
        ...collected.tasks,
        ...memory,
        {
          task: "establish",
          change: {
            snapshots: orphans,
            removedSnapshots: [...names],
            ...(heir === input.current ? {} : { current: heir ?? null }),
            layers: [...findOverlays(tree, removed), ...collected.kept],
            forgottenLayers: [...missing, ...collected.gone.map(({ image }) => image.path)],
          },
        },
      ],
      decidedAt: 0,
      stoppable: true,
      options: { bytesPerS: input.bytesPerS },
      result: { deleted: [...names], layers: collected.fates },
    },
  };
}

function isExternal({ snapshot }: SnapshotDisk): boolean {
  return snapshot === "external";
}

/** Nothing but the snapshots says that qmirror made their overlays: those that stay are recorded. */
function findOverlays(tree: LayerTree, removed: readonly Snapshot[]): RecordedLayer[] {
  const overlays = removed.flatMap(({ disks }) => disks.filter(isExternal)).map(({ source }) => source?.path ?? "");
  return overlays.flatMap((path) => {
    const layer = tree.find(path);
    if (layer === undefined || tree.recorded.has(path)) return [];
    return [{ disk: layer.disk, image: layer.image, reason: madeReason }];
  });
}

function deleteInternal({ name, disks }: Snapshot, jobId: string, discards: DeleteInput["discard"]): Task[] {
  const images = disks.flatMap(({ target, snapshot, base }) => {
    const discard = discards?.get(target);
    const found = { disk: target, ...(discard === undefined ? {} : { discard }) };
    return snapshot === "internal" && base !== undefined ? [{ ...found, image: base }] : [];
  });
  return images.length === 0 ? [] : [{ task: "delete-internal", disks: images, tag: name, jobId }];
}

function forgetTags(tree: LayerTree, removed: readonly Snapshot[]): void {
  for (const { name, disks } of removed) {
    for (const { snapshot, base } of disks) {
      const layer = snapshot === "internal" && base !== undefined ? tree.find(base.path) : undefined;
      if (layer !== undefined) tree.put({ ...layer, tags: layer.tags.filter((tag) => tag !== name) });
    }
  }
}

/** `name`, or the nearest above it that is not removed. */
function remainingAncestor(
  name: string | undefined,
  parents: ReadonlyMap<string, string | undefined>,
  removed: ReadonlySet<string>,
): string | undefined {
  let found = name;
  while (found !== undefined && removed.has(found)) found = parents.get(found);
  return found;
}
