/** Where an image stands in the running guest's chains. */
import { readGuestDisks, type GuestDisk, type LayerNode } from "../../../qemu/block-graph.ts";
import type { ImageNode } from "../../../qemu/mirror-dialect/dialect.ts";
import type { Monitor } from "../../../qemu/monitor.ts";
import type { Machine } from "../machine.ts";

export interface LiveDisk {
  readonly monitor: Monitor;
  readonly guest: GuestDisk;
}

/** The disk in the running QEMU; absent: QEMU does not run, or has no such disk. */
export async function findLiveDisk(machine: Machine, disk: string): Promise<LiveDisk | undefined> {
  const monitor = machine.monitor();
  if (monitor === undefined) return undefined;
  const guest = (await readGuestDisks(monitor)).find(({ target }) => target === disk);
  return guest === undefined ? undefined : { monitor, guest };
}

/** The layer with this path, 0 for the active one; -1: it is not in the chain. */
export function indexOfLayer(live: LiveDisk | undefined, path: string): number {
  return live?.guest.layers.findIndex(({ image }) => image.path === path) ?? -1;
}

export function toImageNode(layer: LayerNode): ImageNode {
  return { image: layer.image, node: layer.node, fileNode: layer.fileNode ?? "" };
}

/** The node of an image that the guest's chain must have. */
export function requireNode(live: LiveDisk, path: string): ImageNode {
  const layer = live.guest.layers[indexOfLayer(live, path)];
  if (layer === undefined) throw new RangeError(`${path} is not in the chain of disk '${live.guest.target}'`);
  return toImageNode(layer);
}
