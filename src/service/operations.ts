/**
 * Operations: begun in the journal, run by the engine, ended in the journal; found again after a crash. At most one a domain.
 */
import type { ErrorBody, OperationKind, OperationView } from "../api-types/index.ts";
import { QmError, asQmError, errorText, isQmError } from "../base/errors.ts";
import type { StoragePlan } from "../engine/steps/storage-plan.ts";
import { labelOf, type TaskPlan } from "../engine/steps/task-plan.ts";
import type { OperationEnd, OperationRow } from "../journal/operations.ts";
import { isConnected } from "../qemu/monitor.ts";
import { findAgainPatiently } from "../qemu/process.ts";
import type { DomainEntry } from "./domain-entry.ts";
import { assertNotBusy } from "./guards.ts";
import type { OperationDeps } from "./operation-deps.ts";
import { RunningOperation } from "./running-operation.ts";
import { watchForStalls } from "./stall-watch.ts";
import { StorageOperation } from "./storage-operation.ts";
import { TaskOperation } from "./task-operation.ts";

export type AnyPlan = StoragePlan | TaskPlan;

export class Operations {
  readonly #deps: OperationDeps;
  readonly #running = new Map<string, RunningOperation>();

  constructor(deps: OperationDeps) {
    this.#deps = deps;
  }

  /** Journals the plan and starts it. When this returns, the operation will come to an end, whatever dies. */
  start(entry: DomainEntry, kind: OperationKind, plan: AnyPlan): RunningOperation {
    assertNotBusy(entry);
    const { store, events } = this.#deps;
    store.atomically(() => {
      store.operations.begin({ id: plan.id, domain: entry.uuid, kind, step: firstStep(plan), plan });
      events.append(entry.name, "operation", { operation: plan.id, kind, state: "running" });
    });
    const running = this.#admit(entry, kind, plan);
    void this.#carryOut(entry, running, () => this.#carrier(entry, running, plan).run());
    return running;
  }

  /** Goes on with what was under way when the last daemon ended. The entry's monitor is connected, or its QEMU is dead. */
  async recover(entry: DomainEntry): Promise<void> {
    for (const row of this.#deps.store.operations.list<AnyPlan>({ domain: entry.uuid, running: true })) {
      const running = this.#admit(entry, row.kind as OperationKind, row.plan);
      const { id, step, decision } = row;
      const alive = entry.monitor !== undefined;
      this.#deps.logger.info({ operation: id, step, decision, alive }, "recovering operation");
      const ended = this.#carryOut(entry, running, () => this.#carrier(entry, running, row.plan).recover(row));
      // Without QEMU nothing takes long but merging, and nobody may start the domain before it is settled.
      if (!alive) await ended;
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
    const row = this.#deps.store.operations.get<AnyPlan>(id);
    if (row === undefined) throw new QmError("QM_NO_OPERATION", { operation: id });
    return viewRow(row);
  }

  list(filter: { domain?: string; running?: boolean }): OperationView[] {
    return this.#deps.store.operations
      .list<AnyPlan>(filter)
      .map((row) => this.#running.get(row.id)?.view() ?? viewRow(row));
  }

  #admit(entry: DomainEntry, kind: OperationKind, plan: AnyPlan): RunningOperation {
    const running = new RunningOperation({ id: plan.id, kind, domain: entry.name, bytesPerS: plan.options.bytesPerS });
    if ("tasks" in plan && plan.result !== undefined) running.result = plan.result;
    entry.busy = { what: `${kind} ${plan.id}`, operation: plan.id };
    this.#running.set(plan.id, running);
    this.#watchForStalls(entry, running, plan);
    return running;
  }

  #watchForStalls(entry: DomainEntry, running: RunningOperation, plan: AnyPlan): void {
    const { events, closing, logger } = this.#deps;
    let toldOf: string | undefined;
    const stop = watchForStalls({
      monitor: () => entry.monitor,
      plan,
      onStall: (stall) => {
        running.setStall(stall);
        if (stall?.kind === toldOf) return;
        toldOf = stall?.kind;
        const { id: operation, kind } = running;
        try {
          events.append(entry.name, "operation", { operation, kind, state: "running", stall: stall ?? null });
        } catch (error) {
          logger.error({ operation, error: errorText(error) }, "a stall could not be recorded");
        }
      },
      // Tasks tell of their jobs themselves.
      onProgress: (disk, done, total) => ("tasks" in plan ? undefined : running.reportProgress(disk, done, total)),
    });
    closing.addEventListener("abort", stop, { once: true });
    void running.done.then(() => {
      closing.removeEventListener("abort", stop);
      stop();
    });
  }

  #carrier(entry: DomainEntry, running: RunningOperation, plan: AnyPlan): StorageOperation | TaskOperation {
    return "tasks" in plan
      ? new TaskOperation(this.#deps, entry, running, plan)
      : new StorageOperation(this.#deps, entry, running, plan);
  }

  async #carryOut(entry: DomainEntry, running: RunningOperation, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#end(entry, running, "succeeded");
    } catch (error) {
      if (this.#deps.closing.aborted) return;
      if (entry.monitor !== undefined && !isConnected(entry.monitor)) await this.#afterLoss(entry, running, error);
      else this.#end(entry, running, isQmError(error, "QM_CANCELLED") ? "cancelled" : "failed", asQmError(error));
    }
  }

  /** The monitor went away in the middle: the outcome of what was in flight is unknown until it is looked at. */
  async #afterLoss(entry: DomainEntry, running: RunningOperation, error: unknown): Promise<void> {
    const row = this.#deps.store.operations.get<AnyPlan>(running.id);
    const identity = entry.run?.identity;
    if (row === undefined || identity === undefined) return this.#end(entry, running, "failed", asQmError(error));
    try {
      const monitor = await findAgainPatiently(identity, this.#deps.closing);
      const recover = (): Promise<void> => this.#carrier(entry, running, row.plan).recover(row);
      if (monitor !== "dead") {
        entry.monitor = monitor;
        return await this.#carryOut(entry, running, recover);
      }
      await recover();
      this.#end(entry, running, "succeeded");
    } catch (lost) {
      if (!this.#deps.closing.aborted) this.#end(entry, running, "failed", asQmError(lost));
    }
  }

  #end(entry: DomainEntry, running: RunningOperation, state: OperationEnd, error?: QmError): void {
    const { store, registry, events, logger } = this.#deps;
    const result = { ...running.result, truth: truthOf(entry) };
    const body: ErrorBody | undefined = error?.toJSON();
    let unrecorded: QmError | undefined;
    try {
      store.atomically(() => {
        store.operations.end(running.id, state, { error: body, result });
        // A transient domain whose QEMU the operation has ended.
        if (entry.run === undefined && entry.definition === undefined) registry.remove(entry);
        events.append(entry.name, "operation", {
          operation: running.id,
          kind: running.kind,
          state,
          ...(body === undefined ? {} : { error: body }),
        });
      });
    } catch (failure) {
      // The journal cannot be written (its disk is full). Until `recover` or the next start has ended it for good nothing else may have
      // the domain: recovery of this one would take a later one's images for its own.
      logger.error(
        { operation: running.id, error: errorText(failure) },
        "the end of the operation could not be recorded",
      );
      unrecorded = asQmError(failure);
    }
    if (unrecorded === undefined) delete entry.busy;
    else entry.busy = { what: `the end of ${running.kind} ${running.id} could not be recorded`, failure: unrecorded };
    this.#running.delete(running.id);
    const view: OperationView = {
      ...running.view(),
      state,
      endedAt: new Date().toISOString(),
      result,
      ...(body === undefined ? {} : { error: body }),
    };
    const { bytesPerS: _rate, secondsLeft: _left, stall: _stall, ...final } = view;
    running.end(final, error);
  }
}

function firstStep(plan: AnyPlan): string {
  return "tasks" in plan ? labelOf(plan, 0) : plan.steps[0];
}

function truthOf(entry: DomainEntry): Record<string, string> {
  const disks = (entry.run?.definition ?? entry.definition)?.disks ?? [];
  return Object.fromEntries(
    disks.flatMap((disk) => (disk.source === undefined ? [] : [[disk.target, disk.source.path]])),
  );
}

function viewRow(row: OperationRow<AnyPlan>): OperationView {
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
