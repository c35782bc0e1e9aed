/** The disk of a block verb, and its images as they are now. */
import { QmError } from "../base/errors.ts";
import { readChain } from "../image/chain.ts";
import type { Disk } from "../model/domain.ts";
import type { ImageRef } from "../model/image.ts";
import { readGuestDisks } from "../qemu/block-graph.ts";
import { probeDialect } from "../qemu/mirror-dialect/index.ts";
import { presentDefinition, requireMonitor, type DomainEntry } from "./domain-entry.ts";
import { selectDisks, type SelectedDisk } from "./live-disks.ts";

/** By its target, or by the path of its active image, as virsh has it. `QM_NO_DISK`. */
export function findDisk(entry: DomainEntry, name: string): Disk {
  const { disks } = presentDefinition(entry);
  const found =
    disks.find(({ target }) => target === name) ?? disks.find(({ source }) => source?.path === name && name !== "");
  if (found !== undefined) return found;
  throw new QmError("QM_NO_DISK", {
    domain: entry.name,
    disk: name,
    disks: disks.map(({ target }) => target).join(", "),
  });
}

/** The disk in the running QEMU, whose images can be named there. `QM_QEMU_TOO_OLD`, `QM_UNSUPPORTED`, `QM_DOMAIN_NOT_RUNNING`. */
export async function selectRunning(entry: DomainEntry, target: string): Promise<SelectedDisk> {
  const monitor = requireMonitor(entry);
  if ((await probeDialect(monitor)) !== "blockdev") {
    throw new QmError("QM_QEMU_TOO_OLD", { missing: "named block nodes" });
  }
  const [selected] = selectDisks(entry, [target], await readGuestDisks(monitor));
  if (selected === undefined) throw new RangeError("one disk was asked for");
  return selected;
}

/** The active image first: by QEMU when it runs, by the headers otherwise. */
export async function readImages(entry: DomainEntry, disk: Disk): Promise<readonly [ImageRef, ...ImageRef[]]> {
  const { target, source } = disk;
  if (entry.run !== undefined) {
    const [active, ...below] = (await selectRunning(entry, target)).layers;
    return [active.image, ...below.map(({ image }) => image)];
  }
  return await readChain(requireWritable(disk, source), { disk: target });
}

export function requireWritable(disk: Disk, source: ImageRef | undefined): ImageRef {
  if (source !== undefined && disk.device === "disk" && !disk.readonly) return source;
  throw new QmError("QM_UNSUPPORTED", { what: `disk '${disk.target}'`, detail: ": it is read-only or empty" });
}
