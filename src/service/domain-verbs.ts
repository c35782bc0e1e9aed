/** What is asked of a domain as a whole: stand still, go on, shut down, tell about itself, be called something else. */
import { readFile } from "node:fs/promises";
import type { BlockInfoView, BlockStatsView, DomainInfoView, OperationKind, ShutdownBody } from "../api-types/index.ts";
import { isQmError, QmError } from "../base/errors.ts";
import { readImageInfo } from "../image/info.ts";
import type { Disk, DomainDefinition } from "../model/domain.ts";
import { checkDomainName } from "../model/names.ts";
import type { SnapshotConfig } from "../model/snapshot.ts";
import { readGuestDisks, type GuestDisk } from "../qemu/block-graph.ts";
import { qomPath } from "../qemu/disk-names.ts";
import { askGuestToEnd } from "../qemu/guest-agent.ts";
import type { Monitor } from "../qemu/monitor.ts";
import { pressPowerButton, pressPowerButtonToReboot } from "../qemu/power.ts";
import { presentDefinition, requireMonitor, type DomainEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import { requireAgent } from "./guest-agent.ts";
import { assertNotBusy } from "./guards.ts";
import { viewDomain } from "./views.ts";

/** Operations that do not care whether the guest runs. All others decide that themselves while they last. */
const indifferentKinds: ReadonlySet<OperationKind> = new Set([
  "migrate-storage",
  "clone-storage",
  "mirror-restart",
  "snapshot-delete",
  "block-copy",
  "block-commit",
  "block-pull",
]);

/** The guest stands still; no error when it does already. */
export async function suspendDomain(deps: LifecycleDeps, entry: DomainEntry): Promise<void> {
  const monitor = requireMonitor(entry);
  assertStateIsFree(deps, entry);
  await monitor.execute("stop");
}

/** The guest goes on. `QM_DOMAIN_RUNNING` when it does not stand still. */
export async function resumeDomain(deps: LifecycleDeps, entry: DomainEntry): Promise<void> {
  const monitor = requireMonitor(entry);
  assertStateIsFree(deps, entry);
  if ((await monitor.execute("query-status")).running) throw new QmError("QM_DOMAIN_RUNNING", { domain: entry.name });
  await monitor.execute("cont");
}

function assertStateIsFree({ operations }: LifecycleDeps, entry: DomainEntry): void {
  const id = entry.busy?.operation;
  const kind = id === undefined ? undefined : operations.find(id)?.kind;
  if (kind === undefined || !indifferentKinds.has(kind)) assertNotBusy(entry);
}

/** Asks the guest to shut down: QEMU ends when it has. Ends when it was asked. */
export async function shutdownDomain(deps: LifecycleDeps, entry: DomainEntry, request: ShutdownBody): Promise<void> {
  await askToEnd(deps, entry, request, "powerdown");
}

/** Asks the guest to start anew. */
export async function rebootDomain(deps: LifecycleDeps, entry: DomainEntry, request: ShutdownBody): Promise<void> {
  await askToEnd(deps, entry, request, "reboot");
}

/** Tries the modes in their order, and goes on to the next where the agent fails. */
async function askToEnd(
  deps: LifecycleDeps,
  entry: DomainEntry,
  request: ShutdownBody,
  mode: "powerdown" | "reboot",
): Promise<void> {
  const monitor = requireMonitor(entry);
  const modes = request.modes ?? ["agent", "acpi"];
  if (modes.length === 0) throw new QmError("QM_INVALID", { reason: "no mode is named" });
  for (const [index, way] of modes.entries()) {
    try {
      if (way === "agent") await askAgent(deps, entry, monitor, mode);
      else if (mode === "reboot") await pressPowerButtonToReboot(monitor);
      else await pressPowerButton(monitor);
      return;
    } catch (error) {
      if (index === modes.length - 1 || !isQmError(error, "QM_AGENT")) throw error;
    }
  }
}

async function askAgent(
  deps: LifecycleDeps,
  entry: DomainEntry,
  monitor: Monitor,
  mode: "powerdown" | "reboot",
): Promise<void> {
  const agent = await requireAgent(deps, entry);
  const ended = Promise.withResolvers<void>();
  const stop = monitor.onEvent(({ event }) => {
    if (event === "SHUTDOWN" || event === "RESET") ended.resolve();
  });
  void monitor.closed.then(() => ended.resolve());
  try {
    await askGuestToEnd(agent, mode, ended.promise);
  } finally {
    stop();
  }
}

/** `virsh dominfo`. `reason` is why it stands still, in virsh's words; `unknown` otherwise. */
export async function describeDomain(deps: LifecycleDeps, entry: DomainEntry): Promise<DomainInfoView> {
  const definition = presentDefinition(entry);
  const { id, state } = viewDomain(entry, deps.registry.mirroredSnapshot(entry));
  const pid = entry.run?.identity?.pid;
  const cpuTimeNs = pid === undefined ? undefined : await readCpuTimeNs(pid);
  return {
    id,
    name: entry.name,
    uuid: entry.uuid,
    osType: "hvm",
    state,
    reason: entry.monitor === undefined ? "unknown" : await readReason(entry.monitor),
    vcpus: definition.vcpus,
    ...(cpuTimeNs === undefined ? {} : { cpuTimeNs }),
    maxMemoryBytes: definition.memoryBytes,
    usedMemoryBytes: definition.memoryBytes, // there is no balloon
    persistent: entry.definition !== undefined,
    managedSave: false,
    autostart: false,
  };
}

const reasons: Readonly<Partial<Record<string, string>>> = {
  paused: "user",
  prelaunch: "starting up",
  "io-error": "I/O error",
  watchdog: "watchdog",
  shutdown: "shutting down",
  "guest-panicked": "crashed",
  "internal-error": "crashed",
  inmigrate: "restoring",
  "save-vm": "saving",
  "finish-migrate": "saving",
  postmigrate: "saving",
};

async function readReason(monitor: Monitor): Promise<string> {
  return reasons[(await monitor.execute("query-status")).status] ?? "unknown";
}

/** Time that a process's threads have had, from /proc; undefined when it has ended. */
async function readCpuTimeNs(pid: number): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => undefined);
  if (stat === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // utime and stime (fields 14 and 15), in Linux's USER_HZ of 100.
  return (Number(fields[14 - 3]) + Number(fields[15 - 3])) * 10_000_000;
}

/** `virsh domblkinfo`, for a disk by its target or the path of its image. `QM_NO_DISK`; `QM_INVALID` for an empty cdrom. */
export async function describeBlock(entry: DomainEntry, name: string): Promise<BlockInfoView> {
  const { disk, source } = findDisk(entry, name);
  if (source.type === "network" && entry.monitor !== undefined) {
    return await describeNetworkBlock(entry, entry.monitor, disk);
  }
  const info = await readImageInfo(source, { disk: disk.target });
  const file = {
    target: disk.target,
    capacityBytes: info.virtualSizeBytes,
    allocationBytes: source.type === "block" ? info.lengthBytes : info.allocatedBytes,
    physicalBytes: info.lengthBytes,
  };
  if (entry.monitor === undefined) return file;
  const guest = await requireGuestDisk(entry, entry.monitor, disk);
  const stats = await readStats(entry.monitor, guest);
  // How far the guest has filled a device is known to QEMU alone.
  const highest = stats?.parent?.stats.wr_highest_offset ?? stats?.stats.wr_highest_offset;
  return {
    ...file,
    capacityBytes: guest.sizeBytes,
    ...(source.type === "block" && highest !== undefined ? { allocationBytes: highest } : {}),
  };
}

/** Only QEMU reaches it. Where it cannot tell how much is allocated, all is. */
async function describeNetworkBlock(entry: DomainEntry, monitor: Monitor, disk: Disk): Promise<BlockInfoView> {
  const { sizeBytes, layers } = await requireGuestDisk(entry, monitor, disk);
  const nodes = await monitor.execute("query-named-block-nodes", { flat: true });
  const active = nodes.find((node) => node["node-name"] === layers[0]?.node);
  const allocationBytes = active?.image["actual-size"] ?? sizeBytes;
  return { target: disk.target, capacityBytes: sizeBytes, allocationBytes, physicalBytes: allocationBytes };
}

/** `virsh domblkstat`, for a disk by its target or the path of its image. `QM_NO_DISK`, `QM_DOMAIN_NOT_RUNNING`. */
export async function readBlockStats(entry: DomainEntry, name: string): Promise<BlockStatsView> {
  const monitor = requireMonitor(entry);
  const { disk } = findDisk(entry, name);
  const found = await readStats(monitor, await requireGuestDisk(entry, monitor, disk));
  if (found === undefined) throw noDisk(entry, disk.target);
  const { stats } = found;
  return {
    target: disk.target,
    rdReq: stats.rd_operations,
    rdBytes: stats.rd_bytes,
    wrReq: stats.wr_operations,
    wrBytes: stats.wr_bytes,
    flushReq: stats.flush_operations,
    rdTotalTimesNs: stats.rd_total_time_ns,
    wrTotalTimesNs: stats.wr_total_time_ns,
    flushTotalTimesNs: stats.flush_total_time_ns,
  };
}

async function readStats(monitor: Monitor, guest: GuestDisk) {
  const all = await monitor.execute("query-blockstats");
  return all.find(({ qdev }) => qdev !== undefined && qomPath(qdev) === guest.qdev);
}

async function requireGuestDisk(entry: DomainEntry, monitor: Monitor, { target }: Disk): Promise<GuestDisk> {
  const guest = (await readGuestDisks(monitor)).find((candidate) => candidate.target === target);
  if (guest === undefined) throw noDisk(entry, target);
  return guest;
}

function findDisk(entry: DomainEntry, name: string): { disk: Disk; source: NonNullable<Disk["source"]> } {
  const { disks } = presentDefinition(entry);
  const disk = disks.find(({ target }) => target === name) ?? disks.find(({ source }) => source?.path === name);
  if (disk === undefined) throw noDisk(entry, name);
  if (disk.source === undefined) throw new QmError("QM_INVALID", { reason: `disk '${disk.target}' has no medium` });
  return { disk, source: disk.source };
}

function noDisk(entry: DomainEntry, disk: string): QmError {
  const disks = presentDefinition(entry).disks.map(({ target }) => target);
  return new QmError("QM_NO_DISK", { domain: entry.name, disk, disks: disks.join(", ") });
}

/**
 * Gives a persistent domain that does not run another name, its snapshots with it. Errors: `QM_XML_INVALID` (no name for a domain),
 * `QM_DOMAIN_EXISTS`, `QM_DOMAIN_ACTIVE`, `QM_DOMAIN_BUSY`, `QM_INVALID` (transient).
 */
export function renameDomain({ registry, store, events }: LifecycleDeps, entry: DomainEntry, newName: string): void {
  const name = checkDomainName(newName, "name");
  assertNotBusy(entry);
  if (entry.run !== undefined) throw new QmError("QM_DOMAIN_ACTIVE", { domain: entry.name, what: "renaming it" });
  const { name: oldName, definition } = entry;
  if (definition === undefined) {
    throw new QmError("QM_INVALID", { reason: `domain '${oldName}' is transient: it has no definition` });
  }
  const taken = registry.find(name);
  if (taken !== undefined) throw new QmError("QM_DOMAIN_EXISTS", { domain: taken.name, uuid: taken.uuid });
  try {
    store.atomically(() => {
      registry.save(Object.assign(entry, { name, definition: { ...definition, name } }));
      for (const snapshot of registry.snapshots(entry)) {
        registry.putSnapshot(entry, { ...snapshot, document: { ...snapshot.document, domainName: name } });
        const config = store.snapshots.config<SnapshotConfig>(entry.uuid, snapshot.name);
        if (config !== undefined) store.snapshots.putConfig(entry.uuid, snapshot.name, renameConfig(config, name));
      }
      events.append(name, "lifecycle", { event: "renamed", from: oldName });
    });
  } catch (error) {
    Object.assign(entry, { name: oldName, definition });
    registry.forgetCached(entry);
    throw error;
  }
}

/** A snapshot that is gone back to brings its domain's definition with it: under the present name. */
function renameConfig({ domain, inactiveDomain }: SnapshotConfig, name: string): SnapshotConfig {
  const rename = (definition: DomainDefinition): DomainDefinition => ({ ...definition, name });
  return {
    domain: rename(domain),
    ...(inactiveDomain === undefined ? {} : { inactiveDomain: rename(inactiveDomain) }),
  };
}
