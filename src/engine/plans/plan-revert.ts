/** Goes back to a snapshot: a new branch, on which nothing is written that another snapshot needs. Pure. */
import type { DomainDefinition } from "../../model/domain.ts";
import { withSource } from "../../model/disk-backing.ts";
import type { ImageRef } from "../../model/image.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Task, TaskPlan } from "../steps/task-plan.ts";
import { LayerTree, madeReason, type KnownLayer, type TreeInput } from "./layer-tree.ts";
import { planCollection } from "./plan-collect.ts";

export interface RevertInput {
  readonly id: string;
  readonly domain: TaskPlan["domain"];
  readonly tree: TreeInput;
  readonly snapshot: Snapshot;
  /** The domain as it will be, with images still to be filled in. */
  readonly definition: DomainDefinition;
  /** The definition of the next start; absent: the domain is transient. */
  readonly persistent?: DomainDefinition;
  readonly disks: readonly RevertDisk[];
  readonly runs: boolean;
  readonly after: "off" | "paused" | "running";
  /** True where the guest goes on in the middle of what it did, from the memory that the snapshot has. */
  readonly withMemory: boolean;
}

/** A disk that the snapshot holds. */
export interface RevertDisk {
  readonly target: string;
  readonly kind: "external" | "internal";
  /** The image that has the snapshot's data. */
  readonly base: KnownLayer;
  /** A file that does not exist yet, for a new branch. */
  readonly newImage: ImageRef;
}

/** Everything that is new is made first; then the decision; what nothing needs any more goes last. */
export function planRevert(input: RevertInput): TaskPlan {
  const { id, snapshot, disks, after } = input;
  const tree = new LayerTree(input.tree);
  const branches = disks.map((disk) => planBranch(tree, disk, snapshot, input.withMemory));
  const images = new Map(branches.map(({ target, image }) => [target, image]));
  const definition = withSources(input.definition, images);
  const abandoned = input.tree.active.map(({ path }) => path).filter((path) => tree.isMade(path));
  // Also one that was left for the snapshot's sake: it has the domain's state again.
  const made = branches.filter(({ image, isNew }) => isNew || (tree.isMade(image.path) && tree.isLeft(image.path)));
  for (const { target, image, layer } of branches) {
    tree.put(layer);
    tree.setActive(target, image.path);
  }
  const collected = planCollection(tree, abandoned, { id, deleting: new Set(), merge: false });
  const making = branches.flatMap(({ make }) => make);
  const left = collected.gone.map((layer) => ({ ...layer, reason: `left by reverting to '${snapshot.name}'` }));
  return {
    family: "tasks",
    id,
    domain: input.domain,
    tasks: [
      ...making,
      {
        task: "establish",
        change: {
          ...(input.persistent === undefined ? {} : { definition: withSources(input.persistent, images) }),
          current: snapshot.name,
          layers: [
            ...made.map(({ target, image }) => ({ disk: target, image, reason: madeReason })),
            ...left,
            ...collected.kept,
          ],
        },
      },
      ...(input.runs ? [{ task: "stop-machine" } as const] : []),
      ...branches.flatMap(({ apply }) => apply),
      ...(after === "off" ? [] : planStart(input, definition, branches)),
      ...collected.tasks,
      ...(left.length === 0
        ? []
        : [{ task: "establish", change: { forgottenLayers: left.map(({ image }) => image.path) } } as const]),
    ],
    decidedAt: making.length,
    stoppable: false,
    options: { bytesPerS: 0 },
    result: { snapshot: snapshot.name, state: after, layers: collected.fates },
  };
}

interface Branch {
  readonly target: string;
  readonly image: ImageRef;
  readonly isNew: boolean;
  readonly layer: KnownLayer;
  readonly make: readonly Task[];
  readonly apply: readonly Task[];
  /** The internal snapshot to load with the memory. */
  readonly load: boolean;
}

function planBranch(tree: LayerTree, disk: RevertDisk, snapshot: Snapshot, withMemory: boolean): Branch {
  const { target, kind, base, newImage } = disk;
  const common = { target, image: newImage, isNew: true, apply: [], load: false };
  if (kind === "external") {
    const layer = { disk: target, image: newImage, backing: base.image.path, sizeBytes: base.sizeBytes, dataBytes: 0 };
    const make: Task = {
      ...{ task: "create-overlay", disk: target, image: newImage, backing: base.image },
      ...{ sizeBytes: base.sizeBytes, like: base.image.path, reuse: false },
    };
    return { ...common, layer: { ...layer, tags: [] }, make: [make] };
  }
  const load = withMemory && snapshot.memory?.snapshot === "internal";
  if (!isFrozen(tree, base.image.path)) {
    const apply: Task[] = load ? [] : [{ task: "apply-internal", disk: target, image: base.image, tag: snapshot.name }];
    return { target, image: base.image, isNew: false, layer: base, make: [], apply, load };
  }
  const backing = base.backing === undefined ? undefined : tree.find(base.backing)?.image;
  const copy: Task = {
    ...{ task: "copy-image", disk: target, from: base.image, to: newImage, sizeBytes: base.dataBytes },
    ...(backing === undefined ? {} : { backing }),
    ...(load ? { keepTag: snapshot.name } : { applyTag: snapshot.name }),
  };
  return { ...common, load, layer: { ...base, image: newImage, tags: [] }, make: [copy] };
}

/** Other images stand on it, or an external snapshot is what it shows now: it must not change. */
function isFrozen(tree: LayerTree, path: string): boolean {
  if (tree.childrenOf(path).length > 0 || tree.foreignUserOf(path) !== undefined) return true;
  return [...tree.snapshots.values()].some(({ disks }) =>
    disks.some(({ snapshot, base }) => snapshot === "external" && base?.path === path),
  );
}

function planStart(input: RevertInput, definition: DomainDefinition, branches: readonly Branch[]): Task[] {
  const { snapshot, after, withMemory, id } = input;
  const file = withMemory && snapshot.memory?.snapshot === "external" ? snapshot.memory.file : undefined;
  const loaded = branches.filter(({ load }) => load);
  const disks = loaded.map(({ target, image }) => ({ disk: target, image }));
  // A task of its own: loading can be repeated as long as they are there.
  const copies = loaded.flatMap(({ target, image, isNew }) => (isNew ? [{ disk: target, image }] : []));
  const tag = snapshot.name;
  return [
    { task: "start-machine", definition, ...(file === undefined ? {} : { memoryFile: file }) },
    ...(disks.length === 0 ? [] : [{ task: "load-internal" as const, definition, disks, tag, jobId: `qm-${id}-load` }]),
    ...(copies.length === 0 ? [] : [{ task: "delete-internal" as const, disks: copies, tag, jobId: `qm-${id}-drop` }]),
    ...(after === "running" ? [{ task: "resume-guest" as const }] : []),
  ];
}

function withSources(definition: DomainDefinition, images: ReadonlyMap<string, ImageRef>): DomainDefinition {
  return {
    ...definition,
    disks: definition.disks.map((disk) => {
      const { backing: _backing, mirror: _mirror, ...rest } = disk;
      const source = images.get(disk.target);
      return source === undefined ? rest : withSource(rest, source);
    }),
  };
}
