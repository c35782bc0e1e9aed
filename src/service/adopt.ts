/** What a QEMU that somebody else started is: learned from its monitor alone. */
import { randomUUID } from "node:crypto";
import type { Disk, DomainDefinition } from "../model/domain.ts";
import { checkDomainName } from "../model/names.ts";
import { readGuestDisks, type GuestDisk } from "../qemu/block-graph.ts";
import type { Monitor } from "../qemu/monitor.ts";

const noUuid = "00000000-0000-0000-0000-000000000000";

/** Its definition describes the running QEMU for people; it is never used to start one. */
export async function describeForeignQemu(
  monitor: Monitor,
  wantedName: string | undefined,
): Promise<{ definition: DomainDefinition; qemuUuid: string }> {
  const [{ name: qemuName }, { UUID: qemuUuid }, kvm, cpus, memory, disks] = await Promise.all([
    monitor.execute("query-name"),
    monitor.execute("query-uuid"),
    monitor.execute("query-kvm"),
    monitor.execute("query-cpus-fast"),
    monitor.execute("query-memory-size-summary"),
    readGuestDisks(monitor),
  ]);
  const uuid = qemuUuid === noUuid ? randomUUID() : qemuUuid;
  const name = checkDomainName(wantedName ?? qemuName ?? uuid, "name");
  return {
    qemuUuid,
    definition: {
      type: kvm.enabled ? "kvm" : "qemu",
      name,
      uuid,
      memoryBytes: memory["base-memory"],
      vcpus: cpus.length,
      arch: cpus[0]?.target ?? "x86_64",
      os: { bootOrder: [] },
      features: [],
      disks: disks.flatMap(describeDisk),
      interfaces: [],
      serials: [],
      qemuArgs: [],
      qemuEnv: {},
    },
  };
}

/** Disks that qmirror cannot work with are left out: naming one says why (see `selectDisks`). */
function describeDisk(disk: GuestDisk): Disk[] {
  const [active] = disk.layers;
  if (active === undefined || disk.unsupported !== undefined) return [];
  const bus = disk.qdev.includes("scsi") || disk.target.startsWith("sd") ? "scsi" : "virtio";
  return [{ target: disk.target, bus, device: "disk", source: active.image, readonly: disk.readOnly }];
}
