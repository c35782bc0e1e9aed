/** Defining, starting, attaching and ending domains. */
import { QmError } from "../base/errors.ts";
import { readChain } from "../image/chain.ts";
import type { DomainDefinition } from "../model/domain.ts";
import { parseDomain } from "../model/domain-parse.ts";
import type { ImageChain } from "../model/image.ts";
import { buildCommandLine } from "../qemu/command-line.ts";
import { identifyByPidFile, readStartTime, type QemuIdentity } from "../qemu/identity.ts";
import { connectMonitor } from "../qemu/monitor.ts";
import { findAgainPatiently, stopQemu } from "../qemu/process.ts";
import { findSocketOwner } from "../qemu/socket-owner.ts";
import { startQemu } from "../qemu/start.ts";
import { describeForeignQemu } from "./adopt.ts";
import { requireMonitor, type DomainEntry } from "./domain-entry.ts";
import { domainPaths } from "./domain-paths.ts";
import { assertNotBusy, assertNotMirrored, withDomain } from "./guards.ts";
import type { MonitorWatch, WatchDeps } from "./monitor-watch.ts";

const startTimeoutMs = 60_000;

export interface LifecycleDeps extends WatchDeps {
  readonly watch: MonitorWatch;
  readonly runtimeDir: string;
}

export class DomainLifecycle {
  readonly #deps: LifecycleDeps;

  constructor(deps: LifecycleDeps) {
    this.#deps = deps;
  }

  define(xml: string): DomainEntry {
    const { registry, events, store } = this.#deps;
    const definition = parseDomain(xml);
    const entry = this.#entryFor(definition);
    if (entry.run === undefined) assertNotMirrored(registry, entry, "defining it anew");
    store.atomically(() => {
      registry.save(Object.assign(entry, { definition }));
      events.append(entry.name, "lifecycle", { event: "defined" });
    });
    return entry;
  }

  async create(xml: string): Promise<DomainEntry> {
    const definition = parseDomain(xml);
    const entry = this.#entryFor(definition);
    if (entry.run !== undefined) throw new QmError("QM_DOMAIN_RUNNING", { domain: entry.name });
    if (entry.definition !== undefined) {
      throw new QmError("QM_DOMAIN_EXISTS", { domain: entry.name, uuid: entry.uuid });
    }
    await this.#run(entry, definition);
    return entry;
  }

  async start(entry: DomainEntry): Promise<void> {
    if (entry.run !== undefined) throw new QmError("QM_DOMAIN_RUNNING", { domain: entry.name });
    if (entry.definition === undefined) throw new QmError("QM_NO_DOMAIN", { domain: entry.name });
    await this.#run(entry, entry.definition);
  }

  /** Ends QEMU at once, as pulling the plug does. An operation under way is settled by what its journal says. */
  async destroy(entry: DomainEntry): Promise<void> {
    const { run } = entry;
    if (run === undefined) throw new QmError("QM_DOMAIN_NOT_RUNNING", { domain: entry.name });
    if (run.identity === undefined)
      throw new QmError("QM_DOMAIN_BUSY", { domain: entry.name, operation: "it is starting" });
    const operation = entry.busy?.operation;
    const ending = operation === undefined ? undefined : this.#deps.operations.find(operation)?.done;
    await stopQemu(run.identity, { force: true });
    await ending;
    await this.#deps.watch.markEnded(entry, "destroyed");
  }

  undefine(entry: DomainEntry): void {
    const { registry, events, store } = this.#deps;
    assertNotBusy(entry);
    if (entry.definition === undefined) {
      throw new QmError("QM_INVALID", { reason: `domain '${entry.name}' is transient: it has no definition` });
    }
    assertNotMirrored(registry, entry, "undefining it");
    store.atomically(() => {
      delete entry.definition;
      if (entry.run === undefined) registry.remove(entry);
      else registry.save(entry);
      events.append(entry.name, "lifecycle", { event: "undefined" });
    });
  }

  /** Adopts a QEMU that somebody else started. `QM_DOMAIN_EXISTS`; `QM_TIMEOUT` when its monitor has another client. */
  async attach(request: { qmp: string; name?: string }): Promise<DomainEntry> {
    const { registry, events, store, watch } = this.#deps;
    // QEMU would not greet a second client, and say nothing.
    const ours = registry.list().find((entry) => entry.run?.identity?.qmpSocket === request.qmp);
    if (ours !== undefined) throw new QmError("QM_DOMAIN_EXISTS", { domain: ours.name, uuid: ours.uuid });
    const monitor = await connectMonitor(request.qmp);
    try {
      const pid = await findSocketOwner(request.qmp);
      const startTimeTicks = pid === undefined ? undefined : readStartTime(pid);
      if (pid === undefined || startTimeTicks === undefined) {
        throw new QmError("QM_QMP_CONNECT", {
          path: request.qmp,
          reason: "the process that serves it cannot be found",
        });
      }
      const { definition, qemuUuid } = await describeForeignQemu(monitor, request.name);
      const taken = registry.find(definition.name) ?? registry.find(definition.uuid);
      if (taken !== undefined) throw new QmError("QM_DOMAIN_EXISTS", { domain: taken.name, uuid: taken.uuid });
      const identity = { pid, startTimeTicks, qmpSocket: request.qmp, uuid: qemuUuid };
      const run = { id: registry.nextRunId(), identity, adopted: true, definition };
      const entry: DomainEntry = { uuid: definition.uuid, name: definition.name, paused: false, run };
      store.atomically(() => {
        registry.save(entry);
        events.append(entry.name, "lifecycle", { event: "attached", pid });
      });
      await watch.follow(entry, monitor);
      return entry;
    } catch (error) {
      await monitor.close();
      throw error;
    }
  }

  async detach(entry: DomainEntry): Promise<void> {
    const { registry, events, store } = this.#deps;
    if (entry.run?.adopted !== true) {
      throw new QmError("QM_INVALID", { reason: `domain '${entry.name}' was not attached: use destroy to end it` });
    }
    assertNotBusy(entry);
    assertNotMirrored(registry, entry, "detaching it");
    const monitor = requireMonitor(entry);
    store.atomically(() => {
      registry.remove(entry);
      events.append(entry.name, "lifecycle", { event: "detached" });
    });
    delete entry.monitor;
    await monitor.close();
  }

  /** Connects again to what ran when the last daemon ended, however long its QEMU takes to answer. Domains whose QEMU is gone keep their `run` until operations are settled. */
  async reconnect(entry: DomainEntry): Promise<"connected" | "gone"> {
    const { run } = entry;
    if (run === undefined) return "gone";
    const identity = run.identity ?? (await this.#identifyStarted(entry));
    if (identity === undefined) return "gone";
    const monitor = await findAgainPatiently(identity, this.#deps.closing);
    if (monitor === "dead") return "gone";
    await this.#deps.watch.follow(entry, monitor);
    return "connected";
  }

  /** The daemon may have died between starting QEMU and recording which process it is. */
  async #identifyStarted(entry: DomainEntry): Promise<QemuIdentity | undefined> {
    const identity = await identifyByPidFile(domainPaths(this.#deps.runtimeDir, entry.uuid), entry.uuid);
    if (identity === undefined || entry.run === undefined) return undefined;
    entry.run = { ...entry.run, identity };
    this.#deps.registry.save(entry);
    return identity;
  }

  #entryFor(definition: DomainDefinition): DomainEntry {
    const { registry } = this.#deps;
    const byName = registry.find(definition.name);
    const byUuid = registry.find(definition.uuid);
    if (byUuid !== undefined && byUuid.name !== definition.name) {
      throw new QmError("QM_DOMAIN_EXISTS", { domain: byUuid.name, uuid: byUuid.uuid });
    }
    if (byName !== undefined && byName.uuid !== definition.uuid) {
      throw new QmError("QM_DOMAIN_EXISTS", { domain: byName.name, uuid: byName.uuid });
    }
    return byName ?? { uuid: definition.uuid, name: definition.name, paused: false };
  }

  async #run(entry: DomainEntry, definition: DomainDefinition): Promise<void> {
    await withDomain(entry, "it is starting", async () => {
      const { registry, events, store, watch, runtimeDir } = this.#deps;
      const chains = await readChains(definition);
      const paths = domainPaths(runtimeDir, entry.uuid, chains);
      // The intent first: a daemon that dies now finds the QEMU again by its pid file.
      entry.run = { id: registry.nextRunId(), adopted: false, definition };
      registry.save(entry);
      try {
        const commandLine = buildCommandLine(definition, paths);
        const identity = await startQemu({
          def: definition,
          commandLine,
          paths,
          signal: AbortSignal.timeout(startTimeoutMs),
        });
        entry.run = { ...entry.run, identity };
        store.atomically(() => {
          registry.save(entry);
          events.append(entry.name, "lifecycle", { event: "started", id: entry.run?.id ?? null });
        });
        await watch.follow(entry, await connectMonitor(paths.qmpSocket));
      } catch (error) {
        if (entry.run.identity !== undefined) await stopQemu(entry.run.identity, { force: true });
        delete entry.run;
        if (entry.definition === undefined) registry.remove(entry);
        else registry.save(entry);
        throw error;
      }
    });
  }
}

/** Reads and checks every disk's chain before QEMU sees any of it. */
export async function readChains(definition: DomainDefinition): Promise<Record<string, ImageChain>> {
  const chains: Record<string, ImageChain> = {};
  for (const { target, source } of definition.disks) {
    if (source !== undefined) chains[target] = await readChain(source, { disk: target });
  }
  return chains;
}
