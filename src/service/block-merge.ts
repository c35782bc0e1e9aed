/** Merging the layers of one disk by the user's word. The merged images' files stay, as virsh leaves them. */
import type { BlockCommitBody, BlockPullBody } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import {
  findNeed,
  findPullNeed,
  planCommit,
  planPull,
  type CommitInput,
  type LayersInput,
  type Need,
} from "../engine/plans/plan-block.ts";
import type { ImageRef } from "../model/image.ts";
import { findDisk, readImages } from "./block-disk.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import { assertNotBusy, assertNotCopied, assertNotMirrored } from "./guards.ts";
import { surveyLayers } from "./layer-survey.ts";
import { newOperationId } from "./operation-id.ts";
import type { RunningOperation } from "./running-operation.ts";

/**
 * `virsh blockcommit`, on domains that run and on those that do not; the active image too, which it then switches away from by itself.
 *
 * `QM_INVALID` (what is named is no such part of the chain), `QM_SNAPSHOT_NEEDS_IMAGE` (a snapshot, another image or another domain
 * needs one of the images as it is), `QM_UNSUPPORTED` (the base is the larger image), and the guards' errors. Nothing is changed then.
 */
export async function startBlockCommit(
  deps: LifecycleDeps,
  entry: DomainEntry,
  diskName: string,
  request: BlockCommitBody,
): Promise<RunningOperation> {
  const what = "merging images of the disk";
  const layers = await readLayers(deps, entry, diskName, request.bytesPerS, what);
  const { disk, chain } = layers;
  const top = request.top === undefined ? 0 : placeOf(chain, request.top, disk);
  const lowest = request.shallow === true ? top + 1 : chain.length - 1;
  const base = request.base === undefined ? lowest : placeOf(chain, request.base, disk);
  if (base <= top || base >= chain.length) {
    const below = chain[top]?.path ?? "";
    throw new QmError("QM_INVALID", { reason: `nothing to merge into below ${below}: ${describeChain(chain, disk)}` });
  }
  const input: CommitInput = { ...layers, top, base };
  refuse(disk, findNeed(input), what);
  assertGrowing(input);
  return deps.operations.start(entry, "block-commit", planCommit(input));
}

/** `virsh blockpull`: the active image takes the data of the layers below it, down to `base`. Errors: as {@link startBlockCommit}. */
export async function startBlockPull(
  deps: LifecycleDeps,
  entry: DomainEntry,
  diskName: string,
  request: BlockPullBody,
): Promise<RunningOperation> {
  const what = "pulling images of the disk";
  const layers = await readLayers(deps, entry, diskName, request.bytesPerS, what);
  const { disk, chain } = layers;
  const base = request.base === undefined ? undefined : placeOf(chain, request.base, disk);
  if ((base ?? chain.length) < 2) {
    const reason = `nothing is between the active image and its end: ${describeChain(chain, disk)}`;
    throw new QmError("QM_INVALID", { reason });
  }
  refuse(disk, findPullNeed(layers), what);
  return deps.operations.start(entry, "block-pull", planPull(layers, base));
}

async function readLayers(
  deps: LifecycleDeps,
  entry: DomainEntry,
  diskName: string,
  bytesPerS: number | undefined,
  what: string,
): Promise<LayersInput> {
  const disk = findDisk(entry, diskName);
  assertNotBusy(entry);
  assertNotMirrored(deps.registry, entry, what);
  assertNotCopied(entry, what, disk.target);
  const [chain, tree] = await Promise.all([readImages(entry, disk), surveyLayers(deps, entry)]);
  const named = new Map(tree.layers.map((layer) => [layer.image.path, layer]));
  for (const [index, { path }] of chain.entries()) {
    if (named.get(path)?.backing === chain[index + 1]?.path && named.has(path)) continue;
    const reason = "its header and QEMU disagree on its backing file";
    throw new QmError("QM_CHAIN_BROKEN", { disk: disk.target, path, reason });
  }
  const domain = { uuid: entry.uuid, name: entry.name };
  return { id: newOperationId(), domain, disk: disk.target, bytesPerS: bytesPerS ?? 0, chain, tree };
}

function placeOf(chain: readonly ImageRef[], path: string, disk: string): number {
  const place = chain.findIndex((image) => image.path === path);
  if (place >= 0) return place;
  throw new QmError("QM_INVALID", {
    reason: `${path} is not an image of disk '${disk}': ${describeChain(chain, disk)}`,
  });
}

function describeChain(chain: readonly ImageRef[], disk: string): string {
  return `the chain of '${disk}' is ${chain.map(({ path }) => path).join(" > ")}`;
}

function refuse(disk: string, need: Need | undefined, what: string): void {
  if (need !== undefined) throw new QmError("QM_SNAPSHOT_NEEDS_IMAGE", { disk, ...need, what });
}

/** What a larger base has behind the end of the layer above would come to light. */
function assertGrowing({ disk, chain, tree, top, base }: CommitInput): void {
  const sizes = new Map(tree.layers.map(({ image, sizeBytes }) => [image.path, sizeBytes]));
  for (const [index, { path }] of chain.entries()) {
    const below = chain[index + 1]?.path;
    if (index < top || index >= base || below === undefined) continue;
    const [size = 0, belowSize = 0] = [sizes.get(path), sizes.get(below)];
    if (belowSize <= size) continue;
    const detail = `: ${below} has ${belowSize} bytes, ${path} ${size}; \`blockpull\` can do it`;
    throw new QmError("QM_UNSUPPORTED", { what: "merging a layer into a larger backing image", detail, disk });
  }
}
