/** Defining, starting, attaching and ending domains. */
import type { UndefineOptions } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import type { DomainDefinition } from "../model/domain.ts";
import { parseDomain } from "../model/domain-parse.ts";
import { identifyByPidFile, readStartTime, type QemuIdentity } from "../qemu/identity.ts";
import { connectMonitor } from "../qemu/monitor.ts";
import { findAgainPatiently, stopQemu } from "../qemu/process.ts";
import { findSocketOwner } from "../qemu/socket-owner.ts";
import { describeForeignQemu } from "./adopt.ts";
import { dropMissingDisks } from "./disk-devices.ts";
import { requireMonitor, type DomainEntry } from "./domain-entry.ts";
import { domainPaths } from "./domain-paths.ts";
import type { DomainRegistry } from "./domain-registry.ts";
import { assertNotBusy, assertNotCopied, assertNotMirrored, withDomain } from "./guards.ts";
import { launch, type MachineDeps } from "./machine.ts";
import type { WatchDeps } from "./monitor-watch.ts";

export interface LifecycleDeps extends WatchDeps, MachineDeps {}

export class DomainLifecycle {
  readonly #deps: LifecycleDeps;

  constructor(deps: LifecycleDeps) {
    this.#deps = deps;
  }

  define(xml: string): DomainEntry {
    const { registry, events, store } = this.#deps;
    const definition = parseDomain(xml);
    const entry = entryFor(this.#deps.registry, definition);
    if (entry.run === undefined) assertNotMirrored(registry, entry, "defining it anew");
    store.atomically(() => {
      registry.save(Object.assign(entry, { definition }));
      events.append(entry.name, "lifecycle", { event: "defined" });
    });
    return entry;
  }

  async create(xml: string): Promise<DomainEntry> {
    const definition = parseDomain(xml);
    const entry = entryFor(this.#deps.registry, definition);
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

  undefine(entry: DomainEntry, { snapshotsMetadata }: UndefineOptions = {}): void {
    const { registry, events, store } = this.#deps;
    assertNotBusy(entry);
    if (entry.definition === undefined) {
      throw new QmError("QM_INVALID", { reason: `domain '${entry.name}' is transient: it has no definition` });
    }
    assertNotMirrored(registry, entry, "undefining it");
    assertNotCopied(entry, "undefining it");
    // A running one stays known, and keeps them, until it ends.
    const snapshots = entry.run === undefined ? registry.snapshots(entry).length : 0;
    if (snapshots > 0 && snapshotsMetadata !== true) {
      throw new QmError("QM_DOMAIN_HAS_SNAPSHOTS", { domain: entry.name, snapshots });
    }
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
    assertNotCopied(entry, "detaching it");
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
    // It was to load a memory file: nobody goes on with that, and its guest has never run.
    if ((await monitor.execute("query-status")).status === "inmigrate") {
      await stopQemu(identity, { force: true });
      await monitor.close();
      return "gone";
    }
    await this.#deps.watch.follow(entry, monitor);
    if (entry.run?.adopted === false) {
      await dropMissingDisks(this.#deps.registry, entry, monitor);
    }
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

  async #run(entry: DomainEntry, definition: DomainDefinition): Promise<void> {
    await withDomain(entry, "it is starting", () => launch(this.#deps, entry, definition, { forget: true }));
  }
}

/** The known domain of this name and uuid, or a new entry that is not registered yet. `QM_DOMAIN_EXISTS` when only one of them fits. */
export function entryFor(registry: DomainRegistry, { name, uuid }: DomainDefinition): DomainEntry {
  for (const known of [registry.find(uuid), registry.find(name)]) {
    if (known !== undefined && (known.uuid !== uuid || known.name !== name)) {
      throw new QmError("QM_DOMAIN_EXISTS", { domain: known.name, uuid: known.uuid });
    }
  }
  return registry.find(uuid) ?? { uuid, name, paused: false };
}
