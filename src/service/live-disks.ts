/** A domain's disks as they are now: from QEMU's graph when it runs, from the images' headers otherwise. */
import { QmError } from "../base/errors.ts";
import { readChain } from "../image/chain.ts";
import type { Disk, DomainDefinition } from "../model/domain.ts";
import { readGuestDisks, type GuestDisk } from "../qemu/block-graph.ts";
import { presentDefinition, type DomainEntry, type SnapshotEntry } from "./domain-entry.ts";
import { mirrorOf } from "./views.ts";

export interface LiveDisk {
  readonly disk: Disk;
  readonly sizeBytes?: number;
}

/** Every disk with its backing chain and mirror. Where a chain cannot be read, only the active image is shown. */
export async function readLiveDisks(
  entry: DomainEntry,
  mirrored: SnapshotEntry | undefined,
  known?: readonly GuestDisk[],
): Promise<LiveDisk[]> {
  const definition = presentDefinition(entry);
  const guests = known ?? (entry.monitor === undefined ? [] : await readGuestDisks(entry.monitor));
  return await Promise.all(
    definition.disks.map(async (disk) => {
      const guest = guests.find((candidate) => candidate.target === disk.target);
      const mirror = mirrorOf(mirrored, disk.target);
      const backing =
        guest === undefined ? await backingFromHeaders(disk) : guest.layers.slice(1).map((layer) => layer.image);
      return {
        disk: { ...disk, backing, ...(mirror === undefined ? {} : { mirror }) },
        ...(guest === undefined ? {} : { sizeBytes: guest.sizeBytes }),
      };
    }),
  );
}

async function backingFromHeaders(disk: Disk): Promise<readonly NonNullable<Disk["source"]>[]> {
  if (disk.source === undefined) return [];
  const chain = await readChain(disk.source, { disk: disk.target, stated: disk.statedBacking }).catch(() => []);
  return chain.slice(1);
}

export async function liveDefinition(
  entry: DomainEntry,
  mirrored: SnapshotEntry | undefined,
  known?: readonly GuestDisk[],
): Promise<DomainDefinition> {
  const disks = await readLiveDisks(entry, mirrored, known);
  return { ...presentDefinition(entry), disks: disks.map(({ disk }) => disk) };
}

/** A disk that an operation works on: QEMU's view of it, with at least the active layer. */
export type SelectedDisk = Omit<GuestDisk, "layers"> & {
  readonly layers: readonly [GuestDisk["layers"][number], ...GuestDisk["layers"][number][]];
  readonly definition: Disk;
};

/**
 * The disks named by `targets`, out of what QEMU says that there are (`readGuestDisks`); all writable ones when absent. `QM_NO_DISK`; `QM_UNSUPPORTED` with the reason for
 * a disk that cannot be snapshot.
 */
export function selectDisks(
  entry: DomainEntry,
  targets: readonly string[] | undefined,
  guests: readonly GuestDisk[],
): SelectedDisk[] {
  const definition = presentDefinition(entry);
  const writable = definition.disks.filter(
    (disk) => disk.device === "disk" && !disk.readonly && disk.source !== undefined,
  );
  const wanted = targets ?? writable.map((disk) => disk.target);
  if (wanted.length === 0) throw new QmError("QM_INVALID", { reason: `domain '${entry.name}' has no writable disk` });
  return [...new Set(wanted)].map((target) => selectDisk(entry, definition, guests, target));
}

function selectDisk(
  entry: DomainEntry,
  definition: DomainDefinition,
  guests: readonly GuestDisk[],
  target: string,
): SelectedDisk {
  const guest = guests.find((candidate) => candidate.target === target);
  const unsupported = (reason: string) =>
    new QmError("QM_UNSUPPORTED", { what: `disk '${target}'`, detail: `: ${reason}` });
  if (guest?.unsupported !== undefined) throw unsupported(guest.unsupported);
  const disk = definition.disks.find((candidate) => candidate.target === target);
  const [active, ...below] = guest?.layers ?? [];
  if (guest === undefined || disk === undefined || active === undefined) {
    const disks = definition.disks.map((candidate) => candidate.target).join(", ");
    throw new QmError("QM_NO_DISK", { domain: entry.name, disk: target, disks });
  }
  if (guest.readOnly || disk.device !== "disk") throw unsupported("it is read-only");
  return { ...guest, layers: [active, ...below], definition: disk };
}
