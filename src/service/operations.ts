/**
 * Operations: begun in the journal, run by the engine, ended in the journal; found again after a crash. At most one a domain.
 */
import type { ErrorBody, OperationKind, OperationView } from "../api-types/index.ts";
import { QmError, asQmError, isQmError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { reconcileAlive, reconcileDead, readView } from "../engine/recovery/reconcile.ts";
import { runPlan, type RunHooks } from "../engine/runner/run-plan.ts";
import type { Fact, OperationJournal, StepContext } from "../engine/steps/step.ts";
import type { StoragePlan } from "../engine/steps/storage-plan.ts";
import type { OperationEnd, OperationRow } from "../journal/operations.ts";
import type { Store } from "../journal/store.ts";
import type { MirrorDialect, DialectName } from "../qemu/mirror-dialect/dialect.ts";
import { isConnected } from "../qemu/monitor.ts";
import { findAgainPatiently } from "../qemu/process.ts";
import { requireMonitor, type DomainEntry } from "./domain-entry.ts";
import type { DomainRegistry } from "./domain-registry.ts";
import type { EventLog } from "./event-log.ts";
import { assertNotBusy } from "./guards.ts";
import { RunningOperation } from "./running-operation.ts";
import { applyToDefinitions, applyToSnapshot, followMove, heirOf } from "./truth.ts";

export interface OperationDeps {
  readonly store: Store;
  readonly registry: DomainRegistry;
  readonly events: EventLog;
  readonly logger: Logger;
  readonly dialectByName: (name: DialectName) => MirrorDialect;
  /** A named point at which a test may end the process: see `RunHooks.fault`. */
  readonly fault: (point: string) => Promise<void>;
  /** Aborted once the daemon is stopping: what is under way stays in the journal for the next one. */
  readonly closing: AbortSignal;
}

/**
 * Facts that recovery would conclude from the steps around them too, when only a power failure lost them (QEMU is dead then): no
 * need to wait for the disk.
 */
const relaxedFacts: ReadonlySet<Fact> = new Set(["snapshot-taken", "mirrored", "mirrors-ended"]);

/** Decisions that forbid going back. */
const pointsOfNoReturn: ReadonlySet<Fact> = new Set(["pivot", "merged", "clone"]);

export class Operations {
  readonly #deps: OperationDeps;
  readonly #running = new Map<string, RunningOperation>();

  constructor(deps: OperationDeps) {
    this.#deps = deps;
  }

  /** Journals the plan and starts it. When this returns, the operation will come to an end, whatever dies. */
  start(entry: DomainEntry, kind: OperationKind, plan: StoragePlan): RunningOperation {
    assertNotBusy(entry);
    requireMonitor(entry);
    const { store, events } = this.#deps;
    const [first] = plan.steps;
    store.atomically(() => {
      store.operations.begin({ id: plan.id, domain: entry.uuid, kind, step: first, plan });
      events.append(entry.name, "operation", { operation: plan.id, kind, state: "running" });
    });
    const running = this.#admit(entry, kind, plan);
    void this.#carryOut(entry, running, plan, (context, hooks) => runPlan(context, hooks, first));
    return running;
  }

  /** Goes on with what was under way when the last daemon ended. The entry's monitor is connected, or its QEMU is dead. */
  async recover(entry: DomainEntry): Promise<void> {
    for (const row of this.#deps.store.operations.list<StoragePlan>({ domain: entry.uuid, running: true })) {
      const running = this.#admit(entry, row.kind as OperationKind, row.plan);
      const view = readView(row);
      this.#deps.logger.info(
        { operation: row.id, ...view, alive: entry.monitor !== undefined },
        "recovering operation",
      );
      if (entry.monitor === undefined) await this.#settleDead(entry, running, row);
      else {
        running.decided = view.fact !== undefined && pointsOfNoReturn.has(view.fact);
        void this.#carryOut(entry, running, row.plan, (context, hooks) => reconcileAlive(context, hooks, view));
      }
    }
  }

  find(id: string): RunningOperation | undefined {
    return this.#running.get(id);
  }

  running(): RunningOperation[] {
    return [...this.#running.values()];
  }

  view(id: string): OperationView {
    const running = this.#running.get(id);
    if (running !== undefined) return running.view();
    const row = this.#deps.store.operations.get<StoragePlan>(id);
    if (row === undefined) throw new QmError("QM_NO_OPERATION", { operation: id });
    return viewRow(row);
  }

  list(filter: { domain?: string; running?: boolean }): OperationView[] {
    return this.#deps.store.operations
      .list<StoragePlan>(filter)
      .map((row) => this.#running.get(row.id)?.view() ?? viewRow(row));
  }

  #admit(entry: DomainEntry, kind: OperationKind, plan: StoragePlan): RunningOperation {
    const running = new RunningOperation({ id: plan.id, kind, domain: entry.name, bytesPerS: plan.options.bytesPerS });
    entry.busy = { what: `${kind} ${plan.id}`, operation: plan.id };
    this.#running.set(plan.id, running);
    return running;
  }

  async #carryOut(
    entry: DomainEntry,
    running: RunningOperation,
    plan: StoragePlan,
    work: (context: StepContext, hooks: RunHooks) => Promise<void>,
  ): Promise<void> {
    const monitor = requireMonitor(entry);
    try {
      await work(this.#context(entry, running, plan), this.#hooks(running, plan));
      this.#end(entry, running, "succeeded");
    } catch (error) {
      if (this.#deps.closing.aborted) return;
      if (!isConnected(monitor)) await this.#afterLoss(entry, running, error);
      else this.#end(entry, running, isQmError(error, "QM_CANCELLED") ? "cancelled" : "failed", asQmError(error));
    }
  }

  /** The monitor went away in the middle: the outcome of what was in flight is unknown until it is looked at. */
  async #afterLoss(entry: DomainEntry, running: RunningOperation, error: unknown): Promise<void> {
    const row = this.#deps.store.operations.get<StoragePlan>(running.id);
    const identity = entry.run?.identity;
    if (row === undefined || identity === undefined) return this.#end(entry, running, "failed", asQmError(error));
    try {
      const monitor = await findAgainPatiently(identity, this.#deps.closing);
      if (monitor === "dead") return await this.#settleDead(entry, running, row);
      entry.monitor = monitor;
      await this.#carryOut(entry, running, row.plan, (context, hooks) => reconcileAlive(context, hooks, readView(row)));
    } catch (lost) {
      if (!this.#deps.closing.aborted) this.#end(entry, running, "failed", asQmError(lost));
    }
  }

  async #settleDead(entry: DomainEntry, running: RunningOperation, row: OperationRow<StoragePlan>): Promise<void> {
    try {
      const succeeded = await reconcileDead(row.plan, this.#journal(entry, running, row.plan), readView(row));
      if (succeeded) this.#end(entry, running, "succeeded");
      else this.#end(entry, running, "failed", new QmError("QM_QEMU_GONE", { domain: entry.name }));
    } catch (error) {
      this.#end(entry, running, "failed", asQmError(error));
    }
  }

  #end(entry: DomainEntry, running: RunningOperation, state: OperationEnd, error?: QmError): void {
    const { store, events, logger } = this.#deps;
    const result = { truth: truthOf(entry) };
    const body: ErrorBody | undefined = error?.toJSON();
    try {
      store.atomically(() => {
        store.operations.end(running.id, state, { error: body, result });
        events.append(entry.name, "operation", {
          operation: running.id,
          kind: running.kind,
          state,
          ...(body === undefined ? {} : { error: body }),
        });
      }, "process-death");
    } catch (failure) {
      // The journal cannot be written (its disk is full): the next start of the daemon finds the operation and ends it.
      logger.error({ operation: running.id, error: failure }, "the end of the operation could not be recorded");
    }
    delete entry.busy;
    this.#running.delete(running.id);
    const view: OperationView = {
      ...running.view(),
      state,
      endedAt: new Date().toISOString(),
      result,
      ...(body === undefined ? {} : { error: body }),
    };
    const { bytesPerS: _rate, secondsLeft: _left, ...final } = view;
    running.end(final, error);
  }

  #context(entry: DomainEntry, running: RunningOperation, plan: StoragePlan): StepContext {
    const monitor = requireMonitor(entry);
    // What needs no QEMU (copying takes hours) must not go on without it.
    const lost = new AbortController();
    void monitor.closed.then(() => lost.abort());
    return {
      plan,
      monitor,
      dialect: this.#deps.dialectByName(plan.dialect),
      journal: this.#journal(entry, running, plan),
      signal: AbortSignal.any([running.signal, lost.signal]),
      bytesPerS: () => running.bytesPerS,
      reportProgress: (disk, doneBytes, totalBytes) => running.reportProgress(disk, doneBytes, totalBytes),
    };
  }

  #hooks(running: RunningOperation, plan: StoragePlan): RunHooks {
    return {
      enterStep: (step) => {
        // The first step's intent is the journalled plan itself.
        if (step.journalled && step.name !== plan.steps[0])
          this.#deps.store.operations.enterStep(running.id, step.name);
        running.enterStep(step.name);
      },
      fault: this.#deps.fault,
      decided: () => running.decided,
    };
  }

  #journal(entry: DomainEntry, running: RunningOperation, plan: StoragePlan): OperationJournal {
    const { store, registry, events } = this.#deps;
    return {
      establish: (fact, left = []) => {
        const before = { definition: entry.definition, run: entry.run };
        const durability = relaxedFacts.has(fact) ? "process-death" : "power-failure";
        try {
          store.atomically(() => {
            store.operations.decide(running.id, fact);
            store.operations.record(running.id, "fact", fact);
            if (left.length > 0) store.operations.record(running.id, "left", left);
            applyToDefinitions(entry, plan, fact, left);
            registry.save(entry);
            const existing = registry.snapshots(entry);
            for (const moved of followMove(plan, fact, existing)) store.snapshots.put(moved);
            const snapshot = applyToSnapshot(entry, plan, fact, left, existing);
            if (snapshot === undefined) {
              store.snapshots.remove(entry.uuid, plan.snapshot.name);
              const heir = heirOf(plan.snapshot.name, existing);
              if (heir !== undefined) store.snapshots.put({ ...heir, current: true });
            } else store.snapshots.put(snapshot);
            events.append(entry.name, "snapshot", { snapshot: plan.snapshot.name, operation: running.id, fact });
          }, durability);
        } catch (error) {
          Object.assign(entry, before);
          throw error;
        }
        if (pointsOfNoReturn.has(fact)) running.decided = true;
      },
      record: (kind, data) => store.operations.record(running.id, kind, data),
      has: (kind, data) =>
        store.operations
          .records(running.id)
          .some((record) => record.kind === kind && (data === undefined || record.data === data)),
    };
  }
}

function truthOf(entry: DomainEntry): Record<string, string> {
  const disks = (entry.run?.definition ?? entry.definition)?.disks ?? [];
  return Object.fromEntries(
    disks.flatMap((disk) => (disk.source === undefined ? [] : [[disk.target, disk.source.path]])),
  );
}

function viewRow(row: OperationRow<StoragePlan>): OperationView {
  return {
    id: row.id,
    kind: row.kind as OperationKind,
    domain: row.plan.domain.name,
    state: row.state,
    step: row.step,
    startedAt: row.startedAt,
    progress: [],
    ...(row.endedAt === undefined ? {} : { endedAt: row.endedAt }),
    ...(row.error === undefined ? {} : { error: row.error as ErrorBody }),
    ...(row.result === undefined ? {} : { result: row.result as Record<string, unknown> }),
  };
}
