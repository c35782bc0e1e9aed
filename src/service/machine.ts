/** A domain's QEMU as a whole: started, ended, asked. */
import { join } from "node:path";
import type { Machine } from "../engine/steps/machine.ts";
import { QmError } from "../base/errors.ts";
import { readChain } from "../image/chain.ts";
import { settleBacking } from "../model/disk-backing.ts";
import type { DomainDefinition } from "../model/domain.ts";
import type { ImageChain } from "../model/image.ts";
import { buildCommandLine } from "../qemu/command-line.ts";
import { identifyByPidFile, isAlive, type QemuIdentity } from "../qemu/identity.ts";
import { readMemoryFile } from "../qemu/memory-file.ts";
import { connectMonitor, isConnected, type Monitor } from "../qemu/monitor.ts";
import { stopQemu } from "../qemu/process.ts";
import { startQemu } from "../qemu/start.ts";
import type { DomainEntry } from "./domain-entry.ts";
import { domainPaths } from "./domain-paths.ts";
import { freezeFilesystems, thawFilesystems } from "./guest-agent.ts";
import type { MonitorWatch, WatchDeps } from "./monitor-watch.ts";

const startTimeoutMs = 60_000;

/** Memory is loaded at least this fast: what takes longer hangs. */
const minLoadBytesPerMs = 10_000;

export interface MachineDeps extends Pick<WatchDeps, "store" | "registry" | "events"> {
  readonly watch: MonitorWatch;
  readonly runtimeDir: string;
}

/** What an operation may do with the domain's QEMU. The caller has the domain to itself. */
export function machineOf(deps: MachineDeps, entry: DomainEntry): Machine {
  return {
    monitor: () => connectedMonitor(entry),
    stop: () => endQemu(deps, entry),
    start: (definition, options) => launch(deps, entry, definition, options),
    socketPath: (name) => join(deps.runtimeDir, "domains", entry.uuid, name),
    freeze: () => freezeFilesystems(deps, entry),
    thaw: () => thawFilesystems(deps, entry),
  };
}

/** A QEMU that lives but cannot be asked must not be taken for one that does not run: `QM_QMP_LOST`. */
function connectedMonitor({ monitor, run }: DomainEntry): Monitor | undefined {
  if (monitor === undefined || isConnected(monitor)) return monitor;
  if (run?.identity !== undefined && isAlive(run.identity)) {
    throw new QmError("QM_QMP_LOST", { command: "the operation's next command" });
  }
  return undefined;
}

export interface LaunchOptions {
  readonly paused?: boolean;
  readonly memoryFile?: string;
  /** A transient domain that does not start is not known any more. */
  readonly forget?: boolean;
}

/**
 * Starts QEMU with `definition`; `entry.definition` stays as it is, but for `settleBacking`. Resolves when it is connected and its memory is loaded.
 * Rejects as `startQemu`, `readChain` and `readMemoryFile`; the entry has no `run` then. Dies the daemon meanwhile, `reconnect` finds
 * the QEMU.
 */
export async function launch(
  deps: MachineDeps,
  entry: DomainEntry,
  definition: DomainDefinition,
  options: LaunchOptions = {},
): Promise<void> {
  const { registry, events, store, watch, runtimeDir } = deps;
  const { paused = false, memoryFile, forget = false } = options;
  const timeoutMs = startTimeoutMs + (await estimateLoadMs(memoryFile));
  const paths = domainPaths(runtimeDir, entry.uuid, await readChains(definition));
  // The headers agree with what it stated: from here on they alone tell.
  const settled = { ...definition, disks: definition.disks.map(settleBacking) };
  if (entry.definition === definition) entry.definition = settled;
  // The intent first: a daemon that dies now finds the QEMU again by its pid file.
  let identity: QemuIdentity | undefined;
  entry.run = { id: registry.nextRunId(), adopted: false, definition: settled };
  try {
    registry.save(entry);
    identity = await startQemu({
      def: definition,
      commandLine: buildCommandLine(definition, paths),
      paths,
      paused,
      ...(memoryFile === undefined ? {} : { incoming: { path: memoryFile } }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    entry.run = { ...entry.run, identity };
    store.atomically(() => {
      registry.save(entry);
      events.append(entry.name, "lifecycle", { event: "started", id: entry.run?.id ?? null });
    });
    const monitor = await connectMonitor(paths.qmpSocket);
    await watch.follow(entry, monitor);
  } catch (error) {
    // Who follows the monitor may have seen its end first.
    if (identity !== undefined) await stopQemu(identity, { force: true });
    delete entry.run;
    delete entry.monitor;
    if (forget && entry.definition === undefined) registry.remove(entry);
    else registry.save(entry);
    throw error;
  }
}

async function estimateLoadMs(memoryFile: string | undefined): Promise<number> {
  return memoryFile === undefined ? 0 : Math.ceil((await readMemoryFile(memoryFile)).streamBytes / minLoadBytesPerMs);
}

/** Ends QEMU at once; no error when it does not run. The entry stays registered, a transient domain's too. */
async function endQemu(deps: MachineDeps, entry: DomainEntry): Promise<void> {
  const { registry, events, store, runtimeDir } = deps;
  const { run, monitor } = entry;
  if (run === undefined) return;
  const identity = run.identity ?? (await identifyByPidFile(domainPaths(runtimeDir, entry.uuid), entry.uuid));
  // Its end is ours: whoever watches the monitor is not to take it for the domain's.
  delete entry.monitor;
  try {
    if (identity !== undefined) await stopQemu(identity, { force: true });
  } catch (error) {
    if (monitor !== undefined) entry.monitor = monitor;
    throw error;
  }
  await monitor?.close();
  store.atomically(() => {
    delete entry.run;
    entry.paused = false;
    registry.save(entry);
    events.append(entry.name, "lifecycle", { event: "stopped", reason: "ended by an operation" });
  });
}

/** Reads and checks every disk's chain before QEMU sees any of it. */
export async function readChains(definition: DomainDefinition): Promise<Record<string, ImageChain>> {
  const chains: Record<string, ImageChain> = {};
  for (const { target, source, statedBacking: stated } of definition.disks) {
    if (source !== undefined) chains[target] = await readChain(source, { disk: target, stated });
  }
  return chains;
}
