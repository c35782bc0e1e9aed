/** How a plan of tasks is carried out and what its changes mean for the domain. */
import { QmError } from "../base/errors.ts";
import { resumeTasks, runTasks, type TaskHooks, type TasksContext } from "../engine/runner/run-tasks.ts";
import { labelOf, type TaskPlan, type TruthChange } from "../engine/steps/task-plan.ts";
import type { TaskJournal } from "../engine/steps/tasks/task.ts";
import type { OperationRow } from "../journal/operations.ts";
import { isConnected } from "../qemu/monitor.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { OperationDeps } from "./operation-deps.ts";
import type { RunningOperation } from "./running-operation.ts";
import { applyChange } from "./truth-change.ts";

export class TaskOperation {
  readonly #deps: OperationDeps;
  readonly #entry: DomainEntry;
  readonly #running: RunningOperation;
  readonly #plan: TaskPlan;

  constructor(deps: OperationDeps, entry: DomainEntry, running: RunningOperation, plan: TaskPlan) {
    this.#deps = deps;
    this.#entry = entry;
    this.#running = running;
    this.#plan = plan;
  }

  run(): Promise<void> {
    return runTasks(this.#context(), this.#hooks(), 0);
  }

  /** QEMU's monitor is connected, or it is dead. */
  recover(row: OperationRow<unknown>): Promise<void> {
    const index = Number.parseInt(row.step, 10);
    if (!(index >= 0 && index < this.#plan.tasks.length)) {
      throw new QmError("QM_INTERNAL", { reason: `operation ${row.id} is at the unknown task '${row.step}'` });
    }
    this.#running.decided = !this.#plan.stoppable && this.#isEstablished(this.#plan.decidedAt);
    return resumeTasks(this.#context(), this.#hooks(), index);
  }

  #context(): TasksContext {
    const running = this.#running;
    return {
      plan: this.#plan,
      machine: this.#deps.machine(this.#entry),
      signal: running.signal,
      bytesPerS: () => running.bytesPerS,
      reportProgress: (disk, doneBytes, totalBytes) => running.reportProgress(disk, doneBytes, totalBytes),
    };
  }

  #hooks(): TaskHooks {
    return {
      enterTask: (index) => {
        const label = labelOf(this.#plan, index);
        // The first task's intent is the journalled plan itself.
        if (index > 0) this.#deps.store.operations.enterStep(this.#running.id, label);
        this.#running.enterStep(label);
      },
      fault: this.#deps.fault,
      journal: (index) => this.#journal(index),
      isLost: () => this.#entry.monitor !== undefined && !isConnected(this.#entry.monitor),
    };
  }

  #isEstablished(index: number): boolean {
    const records = this.#deps.store.operations.records(this.#running.id);
    const last = records.findLast(
      ({ kind, data }) => (kind === "established" || kind === "retracted") && data === index,
    );
    return last?.kind === "established";
  }

  #has(kind: string, data?: unknown): boolean {
    return this.#deps.store.operations
      .records(this.#running.id)
      .some((record) => record.kind === kind && (data === undefined || record.data === data));
  }

  #journal(index: number): TaskJournal {
    const { store } = this.#deps;
    const { id } = this.#running;
    const isEstablished = (): boolean => this.#isEstablished(index);
    return {
      get established() {
        return isEstablished();
      },
      establish: (change) => this.#apply("established", index, change),
      retract: (change) => this.#apply("retracted", index, change),
      record: (kind, data) => store.operations.record(id, kind, data),
      has: (kind, data) => this.#has(kind, data),
    };
  }

  #apply(how: "established" | "retracted", index: number, change: TruthChange): void {
    const { store, registry, events } = this.#deps;
    const entry = this.#entry;
    const before = { definition: entry.definition, run: entry.run };
    try {
      store.atomically(() => {
        store.operations.record(this.#running.id, how, index);
        applyChange(registry, store, entry, change);
        const names = (change.snapshots ?? []).map(({ document }) => document.name);
        for (const name of [...names, ...(change.removedSnapshots ?? [])]) {
          events.append(entry.name, "snapshot", { snapshot: name, operation: this.#running.id });
        }
      });
    } catch (error) {
      Object.assign(entry, before);
      registry.forgetCached(entry);
      throw error;
    }
    if (index === this.#plan.decidedAt && !this.#plan.stoppable) this.#running.decided = true;
  }
}
