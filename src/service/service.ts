/** The use cases of qmirror, over one state file. See {@link Facade} for what each promises. */
import { setTimeout as delay } from "node:timers/promises";
import type {
  CloneBody,
  DiskView,
  DoctorCheck,
  DomainView,
  EventView,
  MigrateBody,
  OperationView,
  SnapshotCreateBody,
  SnapshotView,
} from "../api-types/index.ts";
import { throwIfAborted, withLimits } from "../base/abort.ts";
import { QmError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { Store } from "../journal/store.ts";
import { formatDomain } from "../model/domain-format.ts";
import { formatSnapshot } from "../model/snapshot-format.ts";
import type { DialectName, MirrorDialect } from "../qemu/mirror-dialect/dialect.ts";
import { runDoctor } from "./doctor.ts";
import type { DomainEntry } from "./domain-entry.ts";
import { DomainLifecycle, type LifecycleDeps } from "./domain-lifecycle.ts";
import { DomainRegistry } from "./domain-registry.ts";
import { EventLog } from "./event-log.ts";
import type { Facade } from "./facade.ts";
import { liveDefinition, readLiveDisks } from "./live-disks.ts";
import { MonitorWatch } from "./monitor-watch.ts";
import { Operations } from "./operations.ts";
import type { RunningOperation } from "./running-operation.ts";
import { Snapshots } from "./snapshots.ts";
import { startMove } from "./storage-moves.ts";
import { documentOf, viewDisk, viewDomain, viewSnapshot } from "./views.ts";

/** How long the start waits for QEMUs that do not answer. */
const recoveryWaitMs = 5000;

export interface ServiceOptions {
  readonly store: Store;
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly logger: Logger;
  readonly dialectByName: (name: DialectName) => MirrorDialect;
  /** See `OperationDeps.fault`; absent: nothing happens there. */
  readonly fault?: (point: string) => Promise<void>;
}

export class Service implements Facade {
  readonly #options: ServiceOptions;
  readonly #deps: LifecycleDeps;
  readonly #lifecycle: DomainLifecycle;
  readonly #snapshots: Snapshots;
  readonly #closing = new AbortController();

  private constructor(options: ServiceOptions) {
    const { store, logger, runtimeDir } = options;
    const registry = new DomainRegistry(store);
    const events = new EventLog(store);
    const fault = options.fault ?? (() => Promise.resolve());
    const closing = this.#closing.signal;
    const { dialectByName } = options;
    const operations = new Operations({ store, registry, events, logger, dialectByName, fault, closing });
    const watched = { store, registry, events, operations, logger, closing };
    this.#options = options;
    this.#deps = { ...watched, watch: new MonitorWatch(watched), runtimeDir };
    this.#lifecycle = new DomainLifecycle(this.#deps);
    this.#snapshots = new Snapshots(this.#deps);
  }

  /** Finds running domains again and settles or goes on with their operations, before anyone can ask for anything. */
  static async open(options: ServiceOptions): Promise<Service> {
    const service = new Service(options);
    const recovered = Promise.all(service.#deps.registry.list().map((entry) => service.#recover(entry)));
    // One QEMU that hangs must not keep the others waiting: its domain stays busy until it answers or ends.
    await Promise.race([recovered, delay(recoveryWaitMs, undefined, { ref: false })]);
    return service;
  }

  async #recover(entry: DomainEntry): Promise<void> {
    const { operations, watch, logger } = this.#deps;
    try {
      entry.busy = { what: "its QEMU is being found again" };
      const found = await this.#lifecycle.reconnect(entry);
      delete entry.busy;
      await operations.recover(entry);
      if (found === "gone") await watch.markEnded(entry, "QEMU ended while qmirrord did not run");
      else await watch.refreshMirrors(entry);
    } catch (error) {
      if (!this.#deps.closing.aborted) logger.error({ domain: entry.name, error }, "domain could not be recovered");
    }
  }

  /** Lets go of everything; QEMUs run on, operations under way are found again by the next `open`. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#deps.registry.list().map(async (entry) => await entry.monitor?.close()));
    this.#options.store.close();
  }

  listDomains(): Promise<DomainView[]> {
    return Promise.resolve(this.#deps.registry.list().map((entry) => this.#view(entry)));
  }

  async getDomain(domain: string): Promise<DomainView> {
    return this.#view(await this.#entry(domain));
  }

  async defineDomain(xml: string): Promise<DomainView> {
    return this.#view(await Promise.resolve(xml).then((text) => this.#lifecycle.define(text)));
  }

  async createDomain(xml: string): Promise<DomainView> {
    return this.#view(await this.#lifecycle.create(xml));
  }

  async startDomain(domain: string): Promise<DomainView> {
    const entry = await this.#entry(domain);
    await this.#lifecycle.start(entry);
    return this.#view(entry);
  }

  async destroyDomain(domain: string): Promise<DomainView> {
    const entry = await this.#entry(domain);
    await this.#lifecycle.destroy(entry);
    return this.#view(entry);
  }

  async undefineDomain(domain: string): Promise<void> {
    this.#lifecycle.undefine(await this.#entry(domain));
  }

  async attachDomain(request: { qmp: string; name?: string }): Promise<DomainView> {
    return this.#view(await this.#lifecycle.attach(request));
  }

  async detachDomain(domain: string): Promise<void> {
    await this.#lifecycle.detach(await this.#entry(domain));
  }

  async domainXml(domain: string, options: { inactive: boolean }): Promise<string> {
    const entry = await this.#entry(domain);
    if (options.inactive || entry.run === undefined) {
      if (entry.definition === undefined) {
        throw new QmError("QM_INVALID", {
          reason: `domain '${entry.name}' is transient: it has no inactive definition`,
        });
      }
      return formatDomain(entry.definition);
    }
    const definition = await liveDefinition(entry, this.#deps.registry.mirroredSnapshot(entry));
    return formatDomain(definition, { live: { id: entry.run.id } });
  }

  async domainDisks(domain: string): Promise<DiskView[]> {
    const entry = await this.#entry(domain);
    const disks = await readLiveDisks(entry, this.#deps.registry.mirroredSnapshot(entry));
    return disks.map(({ disk, sizeBytes }) => viewDisk(disk, sizeBytes));
  }

  async createSnapshot(
    domain: string,
    request: SnapshotCreateBody,
  ): Promise<{ snapshot?: SnapshotView; xml: string; operation?: OperationView }> {
    const entry = await this.#entry(domain);
    if (request.printXml === true) {
      return { xml: formatSnapshot((await this.#snapshots.describe(entry, request)).document) };
    }
    const { running, name } = await this.#snapshots.create(entry, request);
    const operation = await finished(running);
    const snapshot = this.#deps.registry.getSnapshot(entry, name);
    return { snapshot: viewSnapshot(snapshot), xml: formatSnapshot(documentOf(snapshot)), operation };
  }

  async listSnapshots(domain: string): Promise<SnapshotView[]> {
    return this.#deps.registry.snapshots(await this.#entry(domain)).map(viewSnapshot);
  }

  async getSnapshot(domain: string, snapshot: string): Promise<SnapshotView> {
    return viewSnapshot(this.#deps.registry.getSnapshot(await this.#entry(domain), snapshot));
  }

  async snapshotXml(domain: string, snapshot: string): Promise<string> {
    return formatSnapshot(documentOf(this.#deps.registry.getSnapshot(await this.#entry(domain), snapshot)));
  }

  async endMirrors(domain: string, name: string, how: "pivot" | "abort"): Promise<OperationView | undefined> {
    const entry = await this.#entry(domain);
    const snapshot = this.#deps.registry.getSnapshot(entry, name);
    if (how === "pivot") {
      try {
        return await finished(await this.#snapshots.pivot(entry, snapshot));
      } finally {
        // A pivot that was given up has ended its mirrors.
        await this.#deps.watch.refreshMirrors(entry);
      }
    }
    const running = await this.#snapshots.abort(entry, snapshot);
    return running === undefined ? undefined : await finished(running);
  }

  async migrateStorage(domain: string, request: MigrateBody): Promise<OperationView> {
    return (await startMove(this.#deps, await this.#entry(domain), "migrate", request)).view();
  }

  async cloneStorage(domain: string, request: CloneBody): Promise<OperationView> {
    return (await startMove(this.#deps, await this.#entry(domain), "clone", request)).view();
  }

  async listOperations(filter: { domain?: string; running?: boolean }): Promise<OperationView[]> {
    const { domain, ...rest } = filter;
    return this.#deps.operations.list(
      domain === undefined ? rest : { ...rest, domain: (await this.#entry(domain)).uuid },
    );
  }

  async getOperation(id: string): Promise<OperationView> {
    return await Promise.resolve(id).then((wanted) => this.#deps.operations.view(wanted));
  }

  async waitOperation(id: string, signal: AbortSignal): Promise<OperationView> {
    const running = this.#deps.operations.find(id);
    if (running === undefined) return await this.getOperation(id);
    return await withLimits("waiting for the operation", running.done, { signal });
  }

  async cancelOperation(id: string): Promise<OperationView> {
    const running = this.#deps.operations.find(id);
    if (running === undefined) return await this.getOperation(id);
    running.cancel();
    return await running.done;
  }

  async setSpeed(id: string, bytesPerS: number): Promise<OperationView> {
    const view = await this.getOperation(id);
    const running = this.#deps.operations.find(id);
    if (running === undefined)
      throw new QmError("QM_INVALID", { reason: `operation ${id} has ended: it ${view.state}` });
    running.bytesPerS = bytesPerS;
    return running.view();
  }

  watchEvents(filter: { domain?: string; since?: number }, signal: AbortSignal): AsyncIterable<EventView> {
    const name =
      filter.domain === undefined ? undefined : (this.#deps.registry.find(filter.domain)?.name ?? filter.domain);
    return this.#deps.events.watch({ ...filter, ...(name === undefined ? {} : { domain: name }) }, signal);
  }

  async *watchOperation(id: string, signal: AbortSignal): AsyncIterable<OperationView> {
    const running = this.#deps.operations.find(id);
    if (running === undefined) {
      yield await this.getOperation(id);
      return;
    }
    for (;;) {
      const changed = Promise.withResolvers<undefined>();
      const stop = running.watch(() => changed.resolve(undefined));
      try {
        const view = running.view();
        yield view;
        if (view.state !== "running") return;
        if (running.final === undefined) await withLimits("watching the operation", changed.promise, { signal });
        throwIfAborted(signal, "watching the operation");
      } finally {
        stop();
      }
    }
  }

  async doctor(): Promise<DoctorCheck[]> {
    return await runDoctor({ stateDir: this.#options.stateDir, runtimeDir: this.#options.runtimeDir });
  }

  #view(entry: DomainEntry): DomainView {
    return viewDomain(entry, this.#deps.registry.mirroredSnapshot(entry));
  }

  #entry(domain: string): Promise<DomainEntry> {
    return Promise.resolve(domain).then((name) => this.#deps.registry.get(name));
  }
}

/** The final view of an operation that succeeded; its error otherwise. */
async function finished(running: RunningOperation): Promise<OperationView> {
  const view = await running.done;
  if (running.failure !== undefined) throw running.failure;
  return view;
}
