/** Gets rid of layers that nobody needs: removes those on which nothing stands, merges those on which one image stands. */
import type { ImageRef } from "../../model/image.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { SnapshotChange, Task, TruthChange } from "../steps/task-plan.ts";
import { broughtReason, madeReason, type KnownLayer, type LayerTree, type RecordedLayer } from "./layer-tree.ts";

/** What becomes of a layer that is no longer needed. */
export interface Fate {
  readonly disk: string;
  readonly path: string;
  readonly fate: "commit" | "pull" | "remove" | "keep";
  readonly into?: string;
  readonly bytes?: number;
  readonly reason?: string;
}

export interface Collection {
  readonly tasks: readonly Task[];
  readonly fates: readonly Fate[];
  /** Layers that stay although the domain does not need them. */
  readonly kept: readonly RecordedLayer[];
  /** Files that are not there any more once the tasks are done: nothing of them is to stay recorded. */
  readonly gone: readonly { readonly disk: string; readonly image: ImageRef }[];
}

export interface CollectOptions {
  /** The operation's id: job ids are derived from it. */
  readonly id: string;
  /** Snapshots of which parts may be gone. */
  readonly deleting: ReadonlySet<string>;
  /** False: only layers on which nothing stands are removed. */
  readonly merge: boolean;
}

/**
 * `candidates` are paths of images whose present state is given up, where nobody needs it. The tree is left as it will be. An image that a merge has emptied is recorded in the same moment: where
 * the plan is given up before the file is removed, the next one finds it.
 */
export function planCollection(tree: LayerTree, candidates: Iterable<string>, options: CollectOptions): Collection {
  const waiting = new Set(candidates);
  const tasks: Task[] = [];
  const fates: Fate[] = [];
  const gone: { readonly disk: string; readonly image: ImageRef }[] = [];
  const toChange = (document: Snapshot): SnapshotChange => ({
    document,
    deleting: options.deleting.has(document.name) || tree.departing.has(document.name),
  });
  const settleOne = (merging: boolean): boolean => {
    for (const path of waiting) {
      const layer = tree.find(path);
      if (layer === undefined || tree.isNeeded(path)) {
        waiting.delete(path);
        return true;
      }
      if (tree.foreignUserOf(path) !== undefined || tree.internalIn(path) !== undefined) continue;
      const [child, ...others] = tree.childrenOf(path);
      if (child === undefined) {
        if (!tree.isMade(path)) continue;
        tasks.push({ task: "remove-file", disk: layer.disk, image: layer.image });
        tree.remove(path);
        waiting.delete(path);
        gone.push({ disk: layer.disk, image: layer.image });
        fates.push({ disk: layer.disk, path, fate: "remove" });
        return true;
      }
      if (others.length > 0 || !merging) continue;
      const way = chooseWay(tree, layer, child);
      if (typeof way === "object") continue;
      const jobId = `qm-${options.id}-${tasks.length}`;
      if (way === "commit") {
        tasks.push(...planCommit(tree, layer, child, jobId, toChange));
        gone.push({ disk: child.disk, image: child.image });
        fates.push({ disk: layer.disk, path: child.image.path, fate: "commit", into: path, bytes: child.dataBytes });
        // `path` is now what the child was, which may be a candidate itself.
        if (!waiting.delete(child.image.path)) waiting.delete(path);
      } else {
        tasks.push(...planPull(tree, layer, child, jobId, toChange));
        gone.push({ disk: layer.disk, image: layer.image });
        fates.push({ disk: layer.disk, path, fate: "pull", into: child.image.path, bytes: layer.dataBytes });
        waiting.delete(path);
      }
      return true;
    }
    return false;
  };
  // What only has to be removed first: nothing is merged with it then.
  while (settleOne(false) || (options.merge && settleOne(true)));
  const kept = [...waiting].flatMap((path) => {
    const layer = tree.find(path);
    return layer === undefined ? [] : [{ disk: layer.disk, image: layer.image, reason: reasonToKeep(tree, layer) }];
  });
  if (options.merge) {
    fates.push(...kept.map(({ disk, image, reason }) => ({ disk, path: image.path, fate: "keep" as const, reason })));
  }
  const records = kept.map((one) => (tree.isMade(one.image.path) ? one : { ...one, reason: broughtReason }));
  return { tasks, fates, gone, kept: records };
}

function reasonToKeep(tree: LayerTree, layer: KnownLayer): string {
  const foreign = tree.foreignUserOf(layer.image.path);
  if (foreign !== undefined) return `it is used by ${foreign}`;
  const internal = tree.internalIn(layer.image.path);
  if (internal !== undefined) return `snapshot '${internal}' is in it`;
  const children = tree.childrenOf(layer.image.path);
  if (children.length === 0) return "qmirror did not make it";
  if (children.length > 1) return `${children.length} images stand on it`;
  const way = children[0] === undefined ? undefined : chooseWay(tree, layer, children[0]);
  return typeof way === "object" ? way.reason : "it is kept for now";
}

/** How a layer and the one image that stands on it become one, with as little data moved as possible; or why they cannot. */
function chooseWay(tree: LayerTree, layer: KnownLayer, child: KnownLayer): "commit" | "pull" | { reason: string } {
  const foreign = tree.foreignUserOf(child.image.path);
  if (foreign !== undefined) return { reason: `${child.image.path}, which stands on it, is used by ${foreign}` };
  if (child.tags.length > 0) {
    return { reason: `${child.image.path}, which stands on it, has internal snapshots that need it as it is` };
  }
  const commits =
    layer.image.type !== "network" &&
    // What a larger one has behind the end of the other would come to light; a device cannot grow.
    (layer.image.type === "block" ? layer.sizeBytes === child.sizeBytes : layer.sizeBytes <= child.sizeBytes);
  const pulls = layer.tags.length === 0 && child.image.type !== "network" && layer.image.type !== "network";
  if (commits && (!pulls || child.dataBytes <= layer.dataBytes)) return "commit";
  return pulls ? "pull" : { reason: `${layer.image.path} can be neither written to nor replaced` };
}

type ToChange = (document: Snapshot) => SnapshotChange;

function planCommit(tree: LayerTree, base: KnownLayer, top: KnownLayer, jobId: string, toChange: ToChange): Task[] {
  const above = tree.childrenOf(top.image.path).map(({ image }) => image);
  const images = tree.isActive(top.image.path) ? [{ disk: top.disk, from: top.image.path, to: base.image }] : [];
  const recorded = [top, base].map(({ image }) => tree.recorded.get(image.path)).filter((one) => one !== undefined);
  const next = recordOfMerged(tree, top, base);
  const before = new Map([...tree.snapshots, ...tree.departing]);
  tree.remove(top.image.path);
  tree.remove(base.image.path);
  const renamed = tree.rename(top.image.path, base.image);
  const dataBytes = Math.min(base.dataBytes + top.dataBytes, top.sizeBytes);
  tree.put({ ...base, sizeBytes: Math.max(base.sizeBytes, top.sizeBytes), dataBytes });
  if (next !== undefined) tree.recorded.set(base.image.path, next);
  const emptied = { disk: top.disk, image: top.image, reason: `its data is in ${base.image.path}` };
  const change: TruthChange = {
    images,
    snapshots: renamed.map(toChange),
    layers: [emptied, ...(next === undefined ? [] : [next])],
    forgottenLayers: next === undefined ? [base.image.path] : [],
  };
  const takenBack: TruthChange = {
    images: images.map(({ disk }) => ({ disk, from: base.image.path, to: top.image })),
    snapshots: renamed.flatMap(({ name }) => before.get(name) ?? []).map(toChange),
    layers: recorded,
    forgottenLayers: [top, base].map(({ image }) => image.path).filter((path) => !recorded.some(isOf(path))),
  };
  return [
    {
      ...{ task: "merge-down", disk: top.disk, top: top.image, base: base.image, above, bytes: top.dataBytes, jobId },
      ...{ change, takenBack },
    },
    { task: "remove-file", disk: top.disk, image: top.image, jobId },
  ];
}

/** What is to be noted of `base` when it is what `top` was. */
function recordOfMerged(tree: LayerTree, top: KnownLayer, base: KnownLayer): RecordedLayer | undefined {
  const { disk, image } = base;
  const isMade = tree.isMade(image.path);
  if (tree.isLeft(top.image.path)) return { disk, image, reason: isMade ? "not needed any more" : broughtReason };
  return isMade && tree.recorded.has(image.path) ? { disk, image, reason: madeReason } : undefined;
}

function isOf(path: string): (layer: { readonly image: ImageRef }) => boolean {
  return ({ image }) => image.path === path;
}

function planPull(tree: LayerTree, from: KnownLayer, top: KnownLayer, jobId: string, toChange: ToChange): Task[] {
  const below = from.backing === undefined ? undefined : tree.find(from.backing);
  tree.remove(from.image.path);
  const { backing: _old, ...rest } = top;
  const dataBytes = Math.min(top.dataBytes + from.dataBytes, top.sizeBytes);
  tree.put({ ...rest, dataBytes, ...(below === undefined ? {} : { backing: below.image.path }) });
  // Snapshots that made `from` as their overlay made what is in `top` now.
  const snapshots = tree.renameSources(from.image.path, top.image).map(toChange);
  const emptied = { disk: from.disk, image: from.image, reason: `its data is in ${top.image.path}` };
  return [
    {
      ...{ task: "pull-up", disk: top.disk, top: top.image, from: [from.image], bytes: from.dataBytes, jobId },
      ...(below === undefined ? {} : { backing: below.image }),
      change: { snapshots, layers: [emptied] },
    },
    { task: "remove-file", disk: from.disk, image: from.image, jobId },
  ];
}
