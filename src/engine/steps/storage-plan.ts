/**
 * Everything that an operation will do and every name that it will use, decided before its first act. Plain JSON: it is
 * journalled as it is, and recovery needs nothing else.
 */
import type { ImageRef } from "../../model/image.ts";
import type { SnapshotConfig, SnapshotMemory, SnapshotState } from "../../model/snapshot.ts";
import type { MemoryToSave } from "./save-memory.ts";
import type { DialectName, MirroredDiskPlan, SnapshotDiskPlan } from "../../qemu/mirror-dialect/dialect.ts";

export const stepNames = [
  "create-files",
  "prepare-images",
  "freeze",
  "save-memory",
  "take-snapshot",
  "resume-guest",
  "thaw",
  "start-mirrors",
  "restart-mirrors",
  "await-ready",
  "copy-layers",
  "verify-copies",
  "attach-backing",
  "prepare-pivot",
  "decide-pivot",
  "finish-pivot",
  "close-source",
  "merge-overlays",
  "remove-source",
  "finish-clone",
  "stop-mirrors",
  "remove-mirrors",
  "commit-back",
] as const;
export type StepName = (typeof stepNames)[number];

export interface StoragePlan {
  /** The operation's id. Node names and job ids are derived from it. */
  readonly id: string;
  readonly domain: { readonly uuid: string; readonly name: string };
  readonly dialect: DialectName;
  readonly steps: readonly [StepName, ...StepName[]];
  readonly snapshot: {
    readonly name: string;
    readonly description?: string;
    readonly creationTime: number;
    /** What the domain did at that moment; absent: `disk-snapshot`. */
    readonly state?: SnapshotState;
    readonly memory?: SnapshotMemory;
    /** Forget it once it is taken: only its files stay. */
    readonly forgotten?: boolean;
  };
  /** The domain as it is now, kept with the snapshot. */
  readonly config?: SnapshotConfig;
  /** How the guest's memory is saved; only where it is. */
  readonly memory?: MemoryToSave;
  readonly disks: readonly SnapshotDiskPlan[];
  /** Overlays and mirrors that the operation makes, and removes when it is undone. */
  readonly files: readonly NewFile[];
  /** Backing images to copy, for each disk from the bottom up. */
  readonly copies: readonly LayerCopy[];
  /** For each disk: all nodes above and of the source chain, a parent before its children. */
  readonly sourceNodes: Readonly<Record<string, readonly string[]>>;
  /** What is deleted once every disk has left it. */
  readonly removeAfterPivot: readonly string[];
  readonly options: PlanOptions;
}

export interface NewFile {
  readonly disk: string;
  readonly path: string;
  /** An empty file, a block device or a reused image was there before: it is used and never removed. */
  readonly existed: boolean;
  /** Owner and mode are taken from this image: QEMU may run as another user. */
  readonly like: string;
}

export interface LayerCopy {
  readonly disk: string;
  readonly from: ImageRef;
  readonly to: ImageRef;
  /** What the copy's header names; absent: it has no backing image. */
  readonly backing?: ImageRef;
  /** Collapse `from` and everything below it into `to`. */
  readonly flatten?: readonly [ImageRef, ...ImageRef[]];
  /** Allocated size of what is read. */
  readonly sizeBytes: number;
}

export interface PlanOptions {
  readonly verify: boolean;
  /** 0: no limit. */
  readonly bytesPerS: number;
  /** How long the guest may be held in the first phase of a pivot. */
  readonly prepareTimeoutMs: number;
}

export const defaultPrepareTimeoutMs = 2000;

/** Overlays and mirrors that did not exist before. */
export function newPaths(plan: Pick<StoragePlan, "files">): string[] {
  return plan.files.filter((file) => !file.existed).map((file) => file.path);
}

export function mirrorPaths(plan: Pick<StoragePlan, "disks" | "files">): string[] {
  const mirrors = new Set(mirroredDisks(plan).map((disk) => disk.mirror.image.path));
  return newPaths(plan).filter((path) => mirrors.has(path));
}

export function overlayPaths(plan: Pick<StoragePlan, "disks" | "files">): string[] {
  const overlays = new Set(plan.disks.map((disk) => disk.overlay.image.path));
  return newPaths(plan).filter((path) => overlays.has(path));
}

/** After a pivot: the mirrors seen as overlays of their backing images, for merging them. */
export function mergedDisks(plan: Pick<StoragePlan, "disks">): SnapshotDiskPlan[] {
  return mirroredDisks(plan).map(({ mirror, ...disk }) => ({
    ...disk,
    overlay: { image: mirror.image, node: mirror.node, fileNode: mirror.fileNode },
    base: mirror.backing[0],
  }));
}

export function mirroredDisks(plan: Pick<StoragePlan, "disks">): MirroredDiskPlan[] {
  return plan.disks.filter((disk): disk is MirroredDiskPlan => disk.mirror !== undefined);
}

export type {
  CacheMode,
  DialectName,
  ImageNode,
  MirrorPlan,
  MirroredDiskPlan,
  SnapshotDiskPlan,
} from "../../qemu/mirror-dialect/dialect.ts";
