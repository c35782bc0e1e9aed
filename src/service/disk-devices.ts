/** Disks attached to and detached from a domain: while it runs, in its definition, or both. */
import type { DetachDiskBody, AttachDiskBody, DeviceScope, DiskView } from "../api-types/index.ts";
import { isQmError, QmError } from "../base/errors.ts";
import { readChain } from "../image/chain.ts";
import { parseDiskDocument } from "../model/disk-document.ts";
import { settleBacking } from "../model/disk-backing.ts";
import type { Disk, DomainDefinition } from "../model/domain.ts";
import { awaitUnplugged, listDevices, plugDisk, unplugDisk } from "../qemu/hot-plug.ts";
import type { Monitor } from "../qemu/monitor.ts";
import { presentDefinition, requireMonitor, type DomainEntry } from "./domain-entry.ts";
import type { DomainRegistry } from "./domain-registry.ts";
import { assertNotCopied, withDomain } from "./guards.ts";
import { readLiveDisks } from "./live-disks.ts";
import type { MachineDeps } from "./machine.ts";
import { viewDisk } from "./views.ts";

/** A guest that works lets go of a disk in far less; libvirt waits for 5 s. */
const detachDeadlineMs = 10_000;

/**
 * Adds a disk. Errors: those of `parseDomain` for the XML; `QM_INVALID` (its target is taken, a scope that the domain does not
 * have), `QM_SAME_FILE`, those of `readChain`, `QM_DOMAIN_NOT_RUNNING`, `QM_QMP_COMMAND` with QEMU's words. Nothing is changed then.
 */
export async function attachDisk(deps: MachineDeps, entry: DomainEntry, request: AttachDiskBody): Promise<DiskView> {
  const disk = parseDiskDocument(request.xml);
  const scope = resolveScope(entry, request);
  return await withDomain(entry, `attaching disk ${disk.target}`, async () => {
    if (scope.live) assertCanAttach(entry.run?.definition, disk);
    if (scope.config) assertCanAttach(entry.definition, disk);
    const chain =
      disk.source === undefined
        ? undefined
        : await readChain(disk.source, { disk: disk.target, stated: disk.statedBacking });
    if (scope.live) await plug(deps, entry, disk, (monitor) => plugDisk(monitor, disk, chain));
    if (scope.config && entry.definition !== undefined) {
      entry.definition = withDisk(entry.definition, settleBacking(disk));
    }
    saveWithEvent(deps, entry, "disk-attached", disk.target);
    const live = scope.live
      ? (await readLiveDisks(entry, undefined)).find((one) => one.disk.target === disk.target)
      : undefined;
    return viewDisk(live?.disk ?? { ...disk, backing: chain?.slice(1) ?? [] }, live?.sizeBytes);
  });
}

/**
 * Removes a disk; its images stay. Errors: `QM_NO_DISK`, `QM_DOMAIN_MIRRORED`, `QM_DOMAIN_NOT_RUNNING`, `QM_INVALID`;
 * `QM_TIMEOUT` when the guest does not let go of it: it may do so later, and the disk is gone then.
 */
export async function detachDisk(
  deps: MachineDeps,
  entry: DomainEntry,
  target: string,
  request: DetachDiskBody,
  deadlineMs = detachDeadlineMs,
): Promise<void> {
  const scope = resolveScope(entry, request);
  await withDomain(entry, `detaching disk ${target}`, async () => {
    if (scope.live) requireDisk(entry, entry.run?.definition, target);
    if (scope.config) requireDisk(entry, entry.definition, target);
    if (scope.live) {
      assertDiskNotMirrored(deps.registry, entry, target);
      assertNotCopied(entry, `detaching disk '${target}'`, target);
      await unplug(deps, entry, target, deadlineMs);
    }
    if (scope.config && entry.definition !== undefined) entry.definition = withoutDisk(entry.definition, target);
    saveWithEvent(deps, entry, "disk-detached", target);
  });
}

/**
 * Brings the live definition up to what QEMU has, after a daemon that died between the two: a disk counts as attached from before
 * QEMU is told until it has let go of it.
 */
export async function dropMissingDisks(registry: DomainRegistry, entry: DomainEntry, monitor: Monitor): Promise<void> {
  if (entry.run === undefined) return;
  const devices = await listDevices(monitor);
  const { definition } = entry.run;
  const disks = definition.disks.filter(({ target }) => devices.has(target));
  if (disks.length === definition.disks.length) return;
  entry.run = { ...entry.run, definition: { ...definition, disks } };
  registry.save(entry);
}

async function plug(
  { registry }: MachineDeps,
  entry: DomainEntry,
  disk: Disk,
  act: (monitor: Monitor) => Promise<void>,
): Promise<void> {
  const { run } = entry;
  if (run === undefined) return;
  const monitor = requireMonitor(entry);
  entry.run = { ...run, definition: withDisk(run.definition, disk) };
  registry.save(entry);
  try {
    await act(monitor);
  } catch (error) {
    // A lost connection leaves it open whether QEMU has the disk: finding QEMU again tells.
    if (!isQmError(error, "QM_QMP_LOST")) {
      entry.run = run;
      registry.save(entry);
    }
    throw error;
  }
}

async function unplug(deps: MachineDeps, entry: DomainEntry, target: string, deadlineMs: number): Promise<void> {
  const unplugging = await unplugDisk(requireMonitor(entry), target);
  const forget = (): void => {
    if (entry.run === undefined) return;
    entry.run = { ...entry.run, definition: withoutDisk(entry.run.definition, target) };
  };
  try {
    await awaitUnplugged(unplugging, target, deadlineMs);
    forget();
  } catch (error) {
    void unplugging.done.then(
      () => {
        forget();
        saveWithEvent(deps, entry, "disk-detached", target);
      },
      () => undefined, // QEMU is gone, or is found again: `dropMissingDisks`
    );
    throw error;
  }
}

function saveWithEvent(
  { store, registry, events }: MachineDeps,
  entry: DomainEntry,
  event: string,
  disk: string,
): void {
  store.atomically(() => {
    registry.save(entry);
    events.append(entry.name, "lifecycle", { event, disk });
  });
}

interface Scope {
  readonly live: boolean;
  readonly config: boolean;
}

/** virsh's meaning: `persistent` is `config`, and `live` too where it runs; none is whatever the domain is now. */
function resolveScope(entry: DomainEntry, request: DeviceScope): Scope {
  const runs = entry.run !== undefined;
  const { live = false, config = false, persistent = false } = request;
  const isNone = !live && !config && !persistent;
  const scope = { live: live || (runs && (persistent || isNone)), config: config || persistent || (isNone && !runs) };
  if (scope.live && !runs) throw new QmError("QM_DOMAIN_NOT_RUNNING", { domain: entry.name });
  if (scope.config && entry.definition === undefined) {
    throw new QmError("QM_INVALID", { reason: `domain '${entry.name}' is transient: it has no definition` });
  }
  return scope;
}

function assertCanAttach(definition: DomainDefinition | undefined, disk: Disk): void {
  for (const other of definition?.disks ?? []) {
    if (other.target === disk.target) {
      throw new QmError("QM_INVALID", { reason: `the domain has a disk '${disk.target}' already` });
    }
    if (disk.source !== undefined && other.source?.path === disk.source.path && !(other.readonly && disk.readonly)) {
      const user = `disk '${other.target}'`;
      throw new QmError("QM_SAME_FILE", { disk: disk.target, path: disk.source.path, user });
    }
  }
}

function requireDisk(entry: DomainEntry, definition: DomainDefinition | undefined, target: string): void {
  const disks = (definition ?? presentDefinition(entry)).disks.map((disk) => disk.target);
  if (!disks.includes(target)) {
    throw new QmError("QM_NO_DISK", { domain: entry.name, disk: target, disks: disks.join(", ") });
  }
}

function assertDiskNotMirrored(registry: DomainRegistry, entry: DomainEntry, target: string): void {
  const mirrored = registry.mirroredSnapshot(entry);
  const disk = mirrored?.mirrors?.plan.disks.find((candidate) => candidate.target === target);
  if (mirrored !== undefined && disk?.mirror !== undefined) {
    const what = `detaching disk '${target}'`;
    throw new QmError("QM_DOMAIN_MIRRORED", { domain: entry.name, snapshot: mirrored.name, what });
  }
}

function withDisk(definition: DomainDefinition, disk: Disk): DomainDefinition {
  return { ...definition, disks: [...definition.disks, disk] };
}

function withoutDisk(definition: DomainDefinition, target: string): DomainDefinition {
  return { ...definition, disks: definition.disks.filter((disk) => disk.target !== target) };
}
