/** The parts that all plans share: names of nodes, jobs and files, derived from the operation's id. Pure. */
import { basename, join } from "node:path";
import type { ImageRef } from "../../model/image.ts";
import type {
  CacheMode,
  DialectName,
  ImageNode,
  MirrorPlan,
  NewFile,
  SnapshotDiskPlan,
  StoragePlan,
} from "../steps/storage-plan.ts";

/** A disk as the guest has it now, and where its overlay and mirror go. */
export interface DiskInput {
  readonly target: string;
  readonly device: string;
  readonly qdev: string;
  readonly sizeBytes: number;
  readonly cache: CacheMode;
  /** Active image first. */
  readonly layers: readonly [LayerInput, ...LayerInput[]];
  readonly overlay: ImageRef;
  readonly mirror?: ImageRef;
  /** The chain that the mirror ends up on, nearest first; absent: the base and what is below it. */
  readonly mirrorBacking?: readonly [ImageRef, ...ImageRef[]];
}

export interface LayerInput {
  readonly node: string;
  readonly fileNode?: string;
  readonly image: ImageRef;
}

export interface PlanInput {
  /** 12 hexadecimal digits. */
  readonly id: string;
  readonly domain: { readonly uuid: string; readonly name: string };
  readonly dialect: DialectName;
  readonly snapshot: StoragePlan["snapshot"];
  readonly disks: readonly DiskInput[];
  /** Paths of overlays and mirrors that are there already and may be used. */
  readonly existing: ReadonlySet<string>;
  readonly reuse: boolean;
  readonly prepareTimeoutMs: number;
}

/** QEMU limits node names to 31 characters; the id is 12, a target name that does not fit is replaced by its position. */
function nodePrefix(id: string, target: string, index: number): string {
  return `qm-${id}-${/^[a-z][a-z0-9]{0,7}$/.test(target) ? target : `d${index}`}`;
}

function imageNode(image: ImageRef, node: string): ImageNode {
  return { image, node, fileNode: `${node}-f` };
}

export function planDisks(input: PlanInput): SnapshotDiskPlan[] {
  return input.disks.map((disk, index) => {
    const prefix = nodePrefix(input.id, disk.target, index);
    const mirror = disk.mirror === undefined ? undefined : planMirror(disk, disk.mirror, prefix);
    return {
      target: disk.target,
      device: disk.device,
      qdev: disk.qdev,
      sizeBytes: disk.sizeBytes,
      base: layerNode(disk.layers[0]),
      overlay: imageNode(disk.overlay, `${prefix}-o`),
      cache: disk.cache,
      reuse: input.reuse,
      ...(mirror === undefined ? {} : { mirror }),
    };
  });
}

const mirrorSuffix = "-m";

function planMirror(disk: DiskInput, image: ImageRef, prefix: string): MirrorPlan {
  const [base, ...below] = disk.layers;
  return {
    ...imageNode(image, `${prefix}${mirrorSuffix}`),
    jobId: `${prefix}-mirror`,
    sharesBase: disk.mirrorBacking === undefined,
    backing:
      disk.mirrorBacking === undefined
        ? [layerNode(base), ...below.map(layerNode)]
        : backingNodes(prefix, disk.mirrorBacking),
  };
}

/** The mirror with another chain below it, whose nodes are named as the plan names them. */
export function withBacking(mirror: MirrorPlan, images: readonly [ImageRef, ...ImageRef[]]): MirrorPlan {
  return { ...mirror, backing: backingNodes(mirror.node.slice(0, -mirrorSuffix.length), images) };
}

function backingNodes(prefix: string, images: readonly [ImageRef, ...ImageRef[]]): MirrorPlan["backing"] {
  const [first, ...rest] = images;
  return [imageNode(first, `${prefix}-0`), ...rest.map((layer, index) => imageNode(layer, `${prefix}-${index + 1}`))];
}

function layerNode(layer: LayerInput): ImageNode {
  return { image: layer.image, node: layer.node, fileNode: layer.fileNode ?? "" };
}

export function planFiles(input: PlanInput): NewFile[] {
  return input.disks.flatMap((disk) => {
    const like = disk.layers[0].image.path;
    const images = disk.mirror === undefined ? [disk.overlay] : [disk.overlay, disk.mirror];
    return images.map(({ path }) => ({ disk: disk.target, path, existed: input.existing.has(path), like }));
  });
}

/** What has to be closed once the guest has left the source: the overlay, and its chain unless the mirror goes on using that. */
export function planSourceNodes(
  disks: readonly SnapshotDiskPlan[],
  inputs: readonly DiskInput[],
): StoragePlan["sourceNodes"] {
  return Object.fromEntries(
    disks.map((disk, index) => {
      const chain = disk.mirror?.sharesBase === false ? (inputs[index]?.layers ?? []) : [];
      const layers = chain.flatMap((layer) =>
        layer.fileNode === undefined ? [layer.node] : [layer.node, layer.fileNode],
      );
      return [disk.target, [disk.overlay.node, disk.overlay.fileNode, ...layers]];
    }),
  );
}

/**
 * `dir` and a file name for each image: its own where no other has that, with the disk's name before it otherwise (two disks may both be
 * called `disk.qcow2`), and a number where that is taken too (a disk that moved before may have layers of one name).
 */
export function placeInDirectory(
  dir: string,
  images: readonly { target: string; path: string }[],
): Map<string, string> {
  const names = images.map(({ path }) => basename(path));
  const used = new Set(names);
  return new Map(
    images.map(({ target, path }, index) => {
      const own = names[index] ?? "";
      const unique = names.indexOf(own) === names.lastIndexOf(own);
      let name = unique ? own : `${target}-${own}`;
      for (let number = 2; !unique && used.has(name); number++) name = `${target}-${number}-${own}`;
      used.add(name);
      return [`${target} ${path}`, join(dir, name)];
    }),
  );
}
