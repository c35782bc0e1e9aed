/** Which images a domain's disks and snapshots stand on, by their headers. */
import { isQmError } from "../base/errors.ts";
import type { KnownLayer, TreeInput } from "../engine/plans/layer-tree.ts";
import { resolveBackingPath } from "../image/chain.ts";
import { readImageInfo } from "../image/info.ts";
import { allocatedDataBytes, listInternalSnapshots } from "../image/internal-snapshots.ts";
import type { DomainDefinition } from "../model/domain.ts";
import { diskFormats, type ImageRef } from "../model/image.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";

/**
 * Every image that the domain's definitions and snapshots name, and all below them. One that is missing is left out: a snapshot
 * whose deletion was interrupted may name such. Rejects as `readImageInfo` does.
 */
export async function surveyLayers({ registry, store }: LifecycleDeps, entry: DomainEntry): Promise<TreeInput> {
  const snapshots = registry.snapshots(entry).map(({ document }) => document);
  const recorded = store.layers.list<ImageRef>(entry.uuid).map(({ disk, image, reason }) => ({ disk, image, reason }));
  const active = definitionsOf(entry).flatMap((definition) => writableImages(definition));
  const layers = new Map<string, KnownLayer>();
  const start = [
    ...active,
    ...recorded,
    ...snapshots.flatMap(({ disks }) =>
      disks.flatMap(({ target, base, source }) =>
        [base, source].flatMap((image) => (image === undefined ? [] : [{ disk: target, image }])),
      ),
    ),
  ];
  for (const { disk, image } of start) await readDown(disk, image, layers);
  const own = new Set(start.map(({ image }) => image.path));
  return {
    layers: await Promise.all([...layers.values()].map((layer) => measure(layer, own))),
    active: active.map(({ disk, image }) => ({ disk, path: image.path })),
    snapshots,
    recorded,
    foreign: await findForeignUsers({ registry }, entry),
  };
}

/** Only of images that may be merged: what is below them may be large, and is nobody's to touch. */
async function measure(layer: KnownLayer, own: ReadonlySet<string>): Promise<KnownLayer> {
  if (layer.image.type === "network" || !own.has(layer.image.path)) return layer;
  return { ...layer, dataBytes: await allocatedDataBytes(layer.image, { disk: layer.disk }) };
}

async function readDown(disk: string, top: ImageRef, layers: Map<string, KnownLayer>): Promise<void> {
  for (let image: ImageRef | undefined = top; image !== undefined && !layers.has(image.path);) {
    const layer: { known: KnownLayer; backing?: ImageRef } | undefined = await readLayer(disk, image);
    if (layer === undefined) return;
    layers.set(image.path, layer.known);
    image = layer.backing;
  }
}

async function readLayer(
  disk: string,
  image: ImageRef,
): Promise<{ known: KnownLayer; backing?: ImageRef } | undefined> {
  try {
    const { virtualSizeBytes: sizeBytes, allocatedBytes, header } = await readImageInfo(image, { disk });
    const dataBytes = Math.min(allocatedBytes, sizeBytes);
    const tags = image.format === "qcow2" ? (await listInternalSnapshots(image, { disk })).map(({ name }) => name) : [];
    const format = diskFormats.find((known) => known === header?.backingFormat);
    const known = { disk, image, sizeBytes, dataBytes, tags };
    if (header?.backingName === undefined || format === undefined) return { known };
    const path = await resolveBackingPath(image.path, header.backingName);
    return { known: { ...known, backing: path }, backing: { type: "file", path, format } };
  } catch (error) {
    if (isQmError(error, "QM_NO_FILE")) return undefined;
    throw error;
  }
}

/** Images that other domains use, at any depth. */
async function findForeignUsers(
  { registry }: Pick<LifecycleDeps, "registry">,
  entry: DomainEntry,
): Promise<ReadonlyMap<string, string>> {
  const users = new Map<string, string>();
  for (const other of registry.list()) {
    if (other === entry) continue;
    const layers = new Map<string, KnownLayer>();
    const documents = registry.snapshots(other).flatMap(({ document }) => document.disks);
    const images = [
      ...definitionsOf(other).flatMap(writableImages),
      ...documents.flatMap(({ target, base }) => (base === undefined ? [] : [{ disk: target, image: base }])),
    ];
    // What another domain's images are is its own business: they may be missing or damaged.
    for (const { disk, image } of images) {
      users.set(image.path, `domain '${other.name}'`);
      await readDown(disk, image, layers).catch(() => undefined);
    }
    for (const path of layers.keys()) users.set(path, `domain '${other.name}'`);
  }
  return users;
}

function definitionsOf({ definition, run }: DomainEntry): DomainDefinition[] {
  return [run?.definition, definition].filter((one) => one !== undefined);
}

function writableImages({ disks }: DomainDefinition): { disk: string; image: ImageRef }[] {
  return disks.flatMap(({ target, source }) => (source === undefined ? [] : [{ disk: target, image: source }]));
}
