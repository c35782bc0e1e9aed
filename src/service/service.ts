/** The use cases of qmirror, over one state file: {@link Facade} says what each promises. */
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../base/logger.ts";
import type { Store } from "../journal/store.ts";
import { isConnected } from "../qemu/monitor.ts";
import type { DialectName, MirrorDialect } from "../qemu/mirror-dialect/dialect.ts";
import { asQmError, errorText } from "../base/errors.ts";
import { checkJournal } from "./check-journal.ts";
import { runDoctor } from "./doctor.ts";
import { createDomainCases } from "./domain-cases.ts";
import type { DomainEntry } from "./domain-entry.ts";
import { DomainLifecycle, type LifecycleDeps } from "./domain-lifecycle.ts";
import { DomainRegistry } from "./domain-registry.ts";
import { EventLog } from "./event-log.ts";
import type { Facade } from "./facade.ts";
import { machineOf } from "./machine.ts";
import { MonitorWatch } from "./monitor-watch.ts";
import { createOperationCases } from "./operation-cases.ts";
import { Operations } from "./operations.ts";
import { createRecoverCases, endOrphans } from "./recover.ts";
import { createSnapshotCases } from "./snapshot-cases.ts";
import { createStorageCases } from "./storage-cases.ts";

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

export class Service {
  readonly facade: Facade;
  readonly #store: Store;
  readonly #deps: LifecycleDeps;
  readonly #lifecycle: DomainLifecycle;
  readonly #closing = new AbortController();

  private constructor(options: ServiceOptions) {
    const { store, logger, stateDir, runtimeDir, dialectByName } = options;
    const registry = new DomainRegistry(store);
    const events = new EventLog(store);
    const fault = options.fault ?? (() => Promise.resolve());
    const closing = this.#closing.signal;
    const machine = (entry: DomainEntry) => machineOf(this.#deps, entry);
    const operations = new Operations({ store, registry, events, logger, dialectByName, machine, fault, closing });
    const watched = { store, registry, events, operations, logger, closing };
    const deps = { ...watched, watch: new MonitorWatch(watched), runtimeDir };
    const lifecycle = new DomainLifecycle(deps);
    this.#store = store;
    this.#deps = deps;
    this.#lifecycle = lifecycle;
    const snapshots = createSnapshotCases(deps, lifecycle);
    this.facade = {
      ...createDomainCases(deps, lifecycle),
      ...snapshots,
      ...createStorageCases(deps, snapshots),
      ...createOperationCases(deps),
      ...createRecoverCases({ ...deps, recover: (entry) => this.#recover(entry) }),
      doctor: () => runDoctor({ stateDir, runtimeDir, known: registry.list().map(({ uuid }) => uuid) }),
    };
  }

  /**
   * Finds running domains again and settles or goes on with their operations, before anyone can ask for anything. `QM_JOURNAL` when the
   * state file says what this qmirror does not understand: nothing was touched then.
   */
  static async open(options: ServiceOptions): Promise<Service> {
    checkJournal(options.store);
    const service = new Service(options);
    endOrphans(service.#deps);
    const recovered = Promise.all(service.#deps.registry.list().map((entry) => service.#recover(entry)));
    // One QEMU that hangs must not keep the others waiting: its domain stays busy until it answers or ends.
    await Promise.race([recovered, delay(recoveryWaitMs, undefined, { ref: false })]);
    return service;
  }

  async #recover(entry: DomainEntry): Promise<void> {
    const { operations, watch, logger } = this.#deps;
    try {
      if (entry.monitor === undefined || !isConnected(entry.monitor)) {
        entry.busy = { what: "its QEMU is being found again" };
        await this.#lifecycle.reconnect(entry);
      }
      delete entry.busy;
      await operations.recover(entry);
      if (entry.monitor !== undefined) await watch.refreshMirrors(entry);
      else await watch.markEnded(entry, "QEMU ended while qmirrord did not run");
    } catch (error) {
      if (this.#deps.closing.aborted) return;
      entry.busy = { what: errorText(error), failure: asQmError(error) };
      logger.error({ domain: entry.name, error: errorText(error) }, "domain could not be recovered");
    }
  }

  /** Lets go of everything; QEMUs run on, operations under way are found again by the next `open`. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#deps.registry.list().map(async (entry) => await entry.monitor?.close()));
    this.#store.close();
  }
}
