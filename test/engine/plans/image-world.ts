/**
 * A domain's images and truth in memory, on which plans of tasks are carried out as their types document it. Images are maps, and
 * reading goes down the chain: a write into what something else stands on shows at once.
 */
import assert from "node:assert/strict";
import type { KnownLayer, TreeInput } from "../../../src/engine/plans/layer-tree.ts";
import type { Task, TaskPlan, TruthChange } from "../../../src/engine/steps/task-plan.ts";
import type { DomainDefinition } from "../../../src/model/domain.ts";
import type { ImageRef } from "../../../src/model/image.ts";
import type { Snapshot } from "../../../src/model/snapshot.ts";

export const blockBytes = 65_536;

export interface SimImage {
  readonly ref: ImageRef;
  readonly disk: string;
  blocks: number;
  backing: string | undefined;
  data: Map<number, number>;
  readonly tags: Map<string, Map<number, number>>;
}

/** Plain data: `structuredClone` makes a second world. */
export interface World {
  readonly images: Map<string, SimImage>;
  definition: DomainDefinition;
  /** What QEMU writes to; absent: it does not run. */
  running: Map<string, string> | undefined;
  readonly snapshots: Map<string, { document: Snapshot; deleting: boolean }>;
  current: string | undefined;
  readonly layers: Map<string, { disk: string; image: ImageRef; reason: string }>;
  /** Paths that others use, and who. */
  readonly foreign: Map<string, string>;
  /** Files that were there before qmirror. */
  readonly brought: Set<string>;
  /** Tasks of the present operation that have established their change. */
  readonly established: Set<number>;
  /** Name of the snapshot whose memory was loaded last. */
  loaded: string | undefined;
}

export function refOf(path: string): ImageRef {
  return { type: "file", path, format: "qcow2" };
}

export function makeImage(disk: string, path: string, blocks: number, backing?: string): SimImage {
  return { ref: refOf(path), disk, blocks, backing, data: new Map(), tags: new Map() };
}

export function imageAt(world: World, path: string): SimImage {
  const image = world.images.get(path);
  assert.ok(image, `${path} is there`);
  return image;
}

/** What a reader of the image sees, block by block; of its internal snapshot with `tag`. */
export function show(world: World, path: string, tag?: string): string {
  const image = imageAt(world, path);
  const own = tag === undefined ? image.data : image.tags.get(tag);
  assert.ok(own, `${path} has the internal snapshot ${tag ?? ""}`);
  const read = (block: number): number => {
    if (own.has(block)) return own.get(block) ?? 0;
    for (let at = image.backing, depth = 0; at !== undefined; depth++) {
      assert.ok(depth < 100, "a chain without a loop");
      const below = imageAt(world, at);
      if (block >= below.blocks) return 0;
      if (below.data.has(block)) return below.data.get(block) ?? 0;
      at = below.backing;
    }
    return 0;
  };
  return Array.from({ length: image.blocks }, (_, block) => read(block)).join(" ");
}

/** Each disk's active image: of the running QEMU, or of the next start. */
export function activePaths({ running, definition }: World): Map<string, string> {
  return running ?? pathsOf(definition);
}

function pathsOf(definition: DomainDefinition): Map<string, string> {
  return new Map(definition.disks.map(({ target, source }) => [target, source?.path ?? ""]));
}

/** As the service surveys it. */
export function surveyWorld(world: World): TreeInput {
  const documents = [...world.snapshots.values()].map(({ document }) => document);
  const active = [world.running ?? new Map<string, string>(), pathsOf(world.definition)].flatMap((paths) =>
    [...paths].map(([disk, path]) => ({ disk, path })),
  );
  const layers = new Map<string, KnownLayer>();
  const named = documents.flatMap(({ disks }) => disks.flatMap(({ base, source }) => [base?.path, source?.path]));
  for (const start of [...active.map(({ path }) => path), ...world.layers.keys(), ...named]) {
    for (let path = start; path !== undefined && !layers.has(path);) {
      const layer = layerAt(world, path);
      if (layer !== undefined) layers.set(path, layer);
      path = layer?.backing;
    }
  }
  const recorded = [...world.layers.values()];
  return { layers: [...layers.values()], active, snapshots: documents, recorded, foreign: world.foreign };
}

export function layerAt(world: World, path: string): KnownLayer | undefined {
  const image = world.images.get(path);
  if (image === undefined) return undefined;
  return {
    disk: image.disk,
    image: image.ref,
    ...(image.backing === undefined ? {} : { backing: image.backing }),
    sizeBytes: image.blocks * blockBytes,
    dataBytes: image.data.size * blockBytes,
    tags: [...image.tags.keys()],
  };
}

function applyChange(world: World, change: TruthChange): void {
  const { images = [], definition } = change;
  const follow = (disk: string, path: string): ImageRef | undefined =>
    images.find((one) => one.disk === disk && one.from === path)?.to;
  const { disks } = world.definition;
  world.definition =
    definition ??
    ({
      ...world.definition,
      disks: disks.map((disk) => ({ ...disk, source: follow(disk.target, disk.source?.path ?? "") ?? disk.source })),
    } as DomainDefinition);
  for (const { document, deleting } of change.snapshots ?? [])
    world.snapshots.set(document.name, { document, deleting });
  for (const name of change.removedSnapshots ?? []) world.snapshots.delete(name);
  if (world.current !== undefined && !world.snapshots.has(world.current)) world.current = undefined;
  if (change.current !== undefined) world.current = change.current ?? undefined;
  for (const layer of change.layers ?? []) world.layers.set(layer.image.path, { ...layer });
  for (const path of change.forgottenLayers ?? []) world.layers.delete(path);
}

/** A crash in the middle of a task. */
export class Torn extends Error {}

/** Carries out the plan's task; with `tear` it dies half way, where that leaves something. Returns how many blocks it moved. */
export function actInWorld(world: World, plan: TaskPlan, index: number, tear = false): number {
  const task = plan.tasks[index];
  assert.ok(task);
  const establish = (change: TruthChange): void => {
    applyChange(world, change);
    world.established.add(index);
  };
  switch (task.task) {
    case "create-overlay": {
      assert.ok(world.established.size === 0 && !world.brought.has(task.image.path));
      world.images.set(
        task.image.path,
        makeImage(task.disk, task.image.path, task.sizeBytes / blockBytes, task.backing.path),
      );
      if (tear) throw new Torn();
      return 0;
    }
    case "copy-image":
      copyImage(world, task, tear);
      return 0;
    case "internal-offline":
      assert.equal(world.running, undefined);
      takeInternal(world, task.image.path, task.tag);
      return 0;
    case "internal-live":
      for (const { disk, image } of task.disks) {
        assert.equal(world.running?.get(disk), image.path);
        takeInternal(world, image.path, task.tag);
      }
      return 0;
    case "establish":
      establish(task.change);
      return 0;
    case "merge-down":
      return mergeDown(world, task, index, tear, establish);
    case "pull-up":
      return pullUp(world, task, index, tear, establish);
    case "delete-internal":
      for (const { disk, image } of task.disks) {
        const active = world.running?.get(disk);
        assert.ok(active === undefined || active === image.path || !chainOf(world, active).includes(image.path));
        world.images.get(image.path)?.tags.delete(task.tag);
        if (tear) throw new Torn();
      }
      return 0;
    case "apply-internal": {
      assert.equal(world.running, undefined);
      const image = writable(world, task.image.path);
      const state = image.tags.get(task.tag);
      assert.ok(state, `${task.image.path} has ${task.tag}`);
      image.data = new Map(state);
      return 0;
    }
    case "remove-file":
      if (task.disk === "memory") return 0;
      assert.ok(!world.foreign.has(task.image.path), `${task.image.path} is used by others`);
      assert.ok(![...(world.running?.values() ?? [])].some((path) => chainOf(world, path).includes(task.image.path)));
      world.images.delete(task.image.path);
      return 0;
    case "stop-machine":
      world.running = undefined;
      return 0;
    case "start-machine":
      assert.deepEqual(pathsOf(task.definition), pathsOf(world.definition));
      for (const path of pathsOf(task.definition).values()) show(world, path);
      world.running = pathsOf(task.definition);
      return 0;
    case "load-internal":
      for (const { disk, image } of task.disks) {
        assert.equal(world.running?.get(disk), image.path);
        const active = writable(world, image.path);
        const state = active.tags.get(task.tag);
        assert.ok(state, `${image.path} has ${task.tag}`);
        active.data = new Map(state);
      }
      world.loaded = task.tag;
      return 0;
    case "resume-guest":
      return 0;
    default:
      throw new RangeError(`no plan of these tests has the task ${task.task}`);
  }
}

/** Takes back what tasks before the decision did. */
export function undoInWorld(world: World, task: Task): void {
  if (task.task === "create-overlay") world.images.delete(task.image.path);
  if (task.task === "copy-image") world.images.delete(task.to.path);
  if (task.task === "internal-offline") world.images.get(task.image.path)?.tags.delete(task.tag);
  if (task.task === "internal-live") {
    for (const { image } of task.disks) world.images.get(image.path)?.tags.delete(task.tag);
  }
}

function chainOf(world: World, path: string): string[] {
  const chain: string[] = [];
  for (let at: string | undefined = path; at !== undefined; at = world.images.get(at)?.backing) chain.push(at);
  return chain;
}

function writable(world: World, path: string): SimImage {
  assert.ok(!world.foreign.has(path), `${path} is used by ${world.foreign.get(path) ?? ""}`);
  return imageAt(world, path);
}

function takeInternal(world: World, path: string, tag: string): void {
  const image = writable(world, path);
  image.tags.set(tag, new Map(image.data));
}

type Of<Name extends Task["task"]> = Extract<Task, { task: Name }>;

function copyImage(
  world: World,
  { disk, from, to, backing, applyTag, keepTag }: Of<"copy-image">,
  tear: boolean,
): void {
  const source = imageAt(world, from.path);
  assert.equal(backing?.path, source.backing, "a copy of one layer stands on what that stands on");
  const copy = { ...structuredClone(source), ref: to, disk };
  if (applyTag !== undefined) {
    const state = copy.tags.get(applyTag);
    assert.ok(state, `${from.path} has ${applyTag}`);
    copy.data = new Map(state);
  }
  for (const tag of copy.tags.keys()) if (tag !== keepTag) copy.tags.delete(tag);
  if (tear) copy.data.clear();
  world.images.set(to.path, copy);
  if (tear) throw new Torn();
}

function mergeDown(
  world: World,
  task: Of<"merge-down">,
  index: number,
  tear: boolean,
  establish: (change: TruthChange) => void,
): number {
  let moved = 0;
  if (!world.established.has(index)) {
    const [top, base] = [imageAt(world, task.top.path), writable(world, task.base.path)];
    assert.equal(top.backing, base.ref.path);
    assert.ok(base.blocks <= top.blocks, "qemu-img commits into no larger image");
    assert.equal(top.tags.size, 0, "what the internal snapshots of a removed image held is lost");
    const data = [...top.data].slice(0, tear ? Math.ceil(top.data.size / 2) : undefined);
    for (const [block, value] of data) base.data.set(block, value);
    base.blocks = top.blocks;
    moved = data.length;
    if (tear) throw new Torn();
    for (const [disk, path] of world.running ?? []) if (path === top.ref.path) world.running?.set(disk, base.ref.path);
  }
  for (const { path } of task.above) writable(world, path).backing = task.base.path;
  if (!world.established.has(index)) establish(task.change);
  return moved;
}

function pullUp(
  world: World,
  task: Of<"pull-up">,
  index: number,
  tear: boolean,
  establish: (change: TruthChange) => void,
): number {
  const top = writable(world, task.top.path);
  let moved = 0;
  if (top.backing !== task.backing?.path) {
    assert.equal(top.backing, task.from[0].path);
    assert.equal(top.tags.size, 0, "an internal snapshot shows what its image stands on");
    for (const { path } of task.from) {
      const below = imageAt(world, path);
      for (const [block, value] of below.data) {
        if (top.data.has(block) || block >= top.blocks) continue;
        top.data.set(block, value);
        moved++;
        if (tear && moved * 2 >= below.data.size) throw new Torn();
      }
    }
    hideBehindEnd(world, top, task);
    top.backing = task.backing?.path;
  }
  if (!world.established.has(index)) establish(task.change);
  return moved;
}

/** Where a layer that goes ends before its neighbours do, what is below its end must not come to light. */
function hideBehindEnd(world: World, top: SimImage, { from, backing }: Of<"pull-up">): void {
  if (backing === undefined) return;
  const end = Math.min(...from.map(({ path }) => imageAt(world, path).blocks));
  for (let block = end; block < top.blocks; block++) if (!top.data.has(block)) top.data.set(block, 0);
}

export function describeWorld({ images, snapshots, layers, current, definition, running }: World): string {
  return JSON.stringify(
    {
      images: [...images.values()].map(
        ({ ref, backing, tags }) => `${ref.path} on ${backing ?? "-"} [${[...tags.keys()].join(" ")}]`,
      ),
      snapshots: [...snapshots.values()].map(
        ({ document: { name, parent, disks }, deleting }) =>
          `${name} of ${parent ?? "-"}${deleting ? " deleting" : ""}: ${disks.map(({ snapshot, base }) => `${snapshot} ${base?.path ?? ""}`).join(", ")}`,
      ),
      layers: [...layers.values()].map(({ image, reason }) => `${image.path}: ${reason}`),
      current,
      active: definition.disks.map(({ source }) => source?.path),
      running: running === undefined ? undefined : [...running.values()],
    },
    null,
    1,
  );
}
