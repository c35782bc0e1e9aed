/** What a definition keeps of a disk's chain: the part that no header on this host can tell. */
import type { Disk } from "./domain.ts";
import type { ImageRef } from "./image.ts";

/**
 * The disk without what its headers, once read and found to agree, tell better: they change with every snapshot and merge. Layers
 * on the network stay, and all that is below one.
 */
export function settleBacking(disk: Disk): Disk {
  if (disk.source?.type === "network" || disk.statedBacking === undefined) return disk;
  return withStated(disk, tailFromNetwork(disk.statedBacking));
}

/**
 * The disk with another active image. A layer on the network that it stood on, or was, stays known: the new image's headers may
 * name it.
 */
export function withSource(disk: Disk, source: ImageRef): Disk {
  const chain = [...(disk.source === undefined ? [] : [disk.source]), ...(disk.statedBacking ?? [])];
  const place = chain.findIndex((image) => image.path === source.path);
  const below = chain.slice(place + 1);
  return withStated({ ...disk, source }, source.type === "network" ? below : tailFromNetwork(below));
}

function tailFromNetwork(layers: readonly ImageRef[]): readonly ImageRef[] | undefined {
  const first = layers.findIndex(({ type }) => type === "network");
  return first === -1 ? undefined : layers.slice(first);
}

function withStated({ statedBacking: _old, ...disk }: Disk, statedBacking: Disk["statedBacking"]): Disk {
  return statedBacking === undefined ? disk : { ...disk, statedBacking };
}
