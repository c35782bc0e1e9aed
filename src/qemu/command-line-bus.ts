/** Controllers, and each disk's place on them. */
import type { Disk, DomainDefinition } from "../model/domain.ts";

export interface DiskPlaces {
  /** Options of `-device` for the controllers that the machine does not have already. */
  readonly controllers: readonly object[];
  /** By disk target: the part of the disk's `-device` that says where it is. */
  readonly places: ReadonlyMap<string, object>;
}

/** Ports of one AHCI controller. */
const ahciPorts = 6;

/**
 * One virtio-scsi controller for all scsi disks; AHCI controllers for sata, the first of which a q35 machine has built in;
 * virtio disks are PCI devices of their own.
 */
export function placeDisks(def: DomainDefinition): DiskPlaces {
  const onBus = (bus: Disk["bus"]): Disk[] => def.disks.filter((disk) => disk.bus === bus);
  const scsi = onBus("scsi");
  const sata = onBus("sata");
  const isQ35 = def.machine !== undefined && /(^|-)q35(-|$)/.test(def.machine);
  const ahciName = (index: number): string => (index === 0 && isQ35 ? "ide" : `qm-sata${index}`);
  const ahciCount = Math.ceil(sata.length / ahciPorts);
  return {
    controllers: [
      ...(scsi.length === 0 ? [] : [{ driver: "virtio-scsi-pci", id: "qm-scsi0" }]),
      ...Array.from({ length: ahciCount }, (_, index) => ({ driver: "ich9-ahci", id: ahciName(index) })).filter(
        ({ id }) => id !== "ide",
      ),
    ],
    places: new Map<string, object>([
      ...scsi.map((disk, unit) => [disk.target, { bus: "qm-scsi0.0", "scsi-id": unit }] as const),
      ...sata.map((disk, unit) => {
        const bus = `${ahciName(Math.floor(unit / ahciPorts))}.${unit % ahciPorts}`;
        return [disk.target, { bus }] as const;
      }),
    ]),
  };
}

/** Boot order of disks by target, and of the first network interface: from the disks' own indexes, otherwise from `<boot dev>`. */
export function orderBoot(def: DomainDefinition): { disks: ReadonlyMap<string, number>; network?: number } {
  const own = def.disks.flatMap((disk) =>
    disk.bootIndex === undefined ? [] : [[disk.target, disk.bootIndex] as const],
  );
  if (own.length > 0) return { disks: new Map(own) };
  const disks = new Map<string, number>();
  let network: number | undefined;
  for (const [index, kind] of def.os.bootOrder.entries()) {
    if (kind === "network") network = index + 1;
    const disk = def.disks.find(({ device }) => device === (kind === "hd" ? "disk" : kind));
    if (disk !== undefined) disks.set(disk.target, index + 1);
  }
  return { disks, ...(network === undefined ? {} : { network }) };
}
