/** Plans that copy whole chains: `migrate-storage` and `clone-storage`. Pure. */
import { join } from "node:path";
import type { ImageRef } from "../../model/image.ts";
import type { LayerCopy, StepName, StoragePlan } from "../steps/storage-plan.ts";
import {
  placeInDirectory,
  planDisks,
  planFiles,
  planSourceNodes,
  type DiskInput,
  type PlanInput,
} from "./plan-parts.ts";

export interface MoveDisk extends Omit<DiskInput, "overlay" | "mirror" | "mirrorBacking"> {
  /** Allocated bytes of each layer, in the order of `layers`. */
  readonly allocatedBytes: readonly number[];
}

export interface MoveInput extends Omit<PlanInput, "disks" | "existing" | "reuse"> {
  readonly disks: readonly MoveDisk[];
  readonly kind: "migrate" | "clone";
  /** Absolute path of the destination directory. */
  readonly directory: string;
  readonly flatten: boolean;
  readonly verify: boolean;
  readonly bytesPerS: number;
  readonly keepSource: boolean;
}

/**
 * Snapshot, mirror, copy, verify, then pivot (or end as a clone). All files are new. Of the source only the overlay and the image
 * that was active are removed after a migration: the guest wrote to them, so nobody else can need them. Images below may be shared with
 * domains that qmirror does not know (docs/decisions/0003-what-is-removed.md).
 */
export function planMove(input: MoveInput): StoragePlan {
  const placed = placeInDirectory(
    input.directory,
    input.disks.flatMap((disk) =>
      copiedLayers(disk, input.flatten).map((image) => ({ target: disk.target, path: image.path })),
    ),
  );
  const inputs = input.disks.map((disk) => toDiskInput(disk, input, placed));
  const base: PlanInput = { ...input, disks: inputs, existing: new Set(), reuse: false };
  const disks = planDisks(base);
  const removable = inputs
    .flatMap((disk) => [disk.overlay, disk.layers[0].image])
    .filter((image) => image.type === "file");
  return {
    id: input.id,
    domain: input.domain,
    dialect: input.dialect,
    steps: moveSteps(input),
    snapshot: input.snapshot,
    disks,
    files: planFiles(base),
    copies: input.disks.flatMap((disk) => planCopies(disk, input.flatten, placed)),
    sourceNodes: planSourceNodes(disks, inputs),
    removeAfterPivot: input.keepSource ? [] : removable.map((image) => image.path),
    options: { verify: input.verify, bytesPerS: input.bytesPerS, prepareTimeoutMs: input.prepareTimeoutMs },
  };
}

function moveSteps(input: MoveInput): StoragePlan["steps"] {
  const copied: StoragePlan["steps"] = [
    "create-files",
    "prepare-images",
    "take-snapshot",
    "start-mirrors",
    "await-ready",
    "copy-layers",
    ...(input.verify ? (["verify-copies"] as const) : []),
  ];
  // Only QEMUs with named nodes can be told which layer to merge into which.
  const merging = (step: StepName): StepName[] => (input.dialect === "blockdev" ? [step] : []);
  if (input.kind === "clone") return [...copied, "finish-clone", ...merging("commit-back")];
  const removes: StepName[] = input.keepSource ? [] : ["remove-source"];
  return [
    ...copied,
    "attach-backing",
    "prepare-pivot",
    "decide-pivot",
    "finish-pivot",
    "close-source",
    ...merging("merge-overlays"),
    ...removes,
  ];
}

/** Layers that get a copy of their own, nearest first. */
function copiedLayers(disk: MoveDisk, flatten: boolean): ImageRef[] {
  const images = disk.layers.map((layer) => layer.image);
  return flatten ? images.slice(0, 1) : images;
}

function destinations(disk: MoveDisk, flatten: boolean, placed: ReadonlyMap<string, string>): ImageRef[] {
  return copiedLayers(disk, flatten).map((image) => ({
    type: "file",
    path: placed.get(`${disk.target} ${image.path}`) ?? "",
    format: flatten ? "qcow2" : image.format,
  }));
}

function planCopies(disk: MoveDisk, flatten: boolean, placed: ReadonlyMap<string, string>): LayerCopy[] {
  const to = destinations(disk, flatten, placed);
  const [top, ...below] = disk.layers.map((layer) => layer.image);
  const copies = to.flatMap((image, index): LayerCopy[] => {
    const from = disk.layers[index]?.image;
    const backing = to[index + 1];
    if (from === undefined || top === undefined) return [];
    const sizeBytes = flatten
      ? disk.allocatedBytes.reduce((sum, size) => sum + size, 0)
      : (disk.allocatedBytes[index] ?? 0);
    return [
      {
        disk: disk.target,
        from,
        to: image,
        sizeBytes,
        ...(flatten ? { flatten: [top, ...below] as const } : {}),
        ...(backing === undefined || flatten ? {} : { backing }),
      },
    ];
  });
  return copies.toReversed();
}

function toDiskInput(disk: MoveDisk, input: MoveInput, placed: ReadonlyMap<string, string>): DiskInput {
  const [first, ...rest] = destinations(disk, input.flatten, placed);
  const source = disk.layers[0].image;
  // Appended, for `disk.qcow2` and `disk.raw` may be neighbours. Nothing can be made beside a block device: its overlay waits at the destination until the guest has left it.
  const overlay =
    source.type === "file"
      ? `${source.path}.${input.snapshot.name}`
      : join(input.directory, `${disk.target}.${input.snapshot.name}-source`);
  const mirror = `${first?.path ?? join(input.directory, disk.target)}.${input.snapshot.name}`;
  return {
    ...disk,
    overlay: { type: "file", path: overlay, format: "qcow2" },
    mirror: { type: "file", path: mirror, format: "qcow2" },
    ...(first === undefined ? {} : { mirrorBacking: [first, ...rest] as const }),
  };
}
