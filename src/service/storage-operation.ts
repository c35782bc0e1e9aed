/** How a plan of mirrored disks is carried out, and what its facts mean for the domain. */
import { QmError } from "../base/errors.ts";
import { reconcileAlive, reconcileDead, readView } from "../engine/recovery/reconcile.ts";
import { runPlan, type RunHooks } from "../engine/runner/run-plan.ts";
import type { Fact, OperationJournal, StepContext } from "../engine/steps/step.ts";
import type { StoragePlan } from "../engine/steps/storage-plan.ts";
import type { OperationRow } from "../journal/operations.ts";
import { isConnected } from "../qemu/monitor.ts";
import { requireMonitor, type DomainEntry } from "./domain-entry.ts";
import type { OperationDeps } from "./operation-deps.ts";
import type { RunningOperation } from "./running-operation.ts";
import { applyToDefinitions, applyToSnapshot, followMove, heirOf } from "./truth.ts";

/**
 * Facts that recovery would conclude from the steps around them too, when only a power failure lost them (QEMU is dead then): no
 * need to wait for the disk.
 */
const relaxedFacts: ReadonlySet<Fact> = new Set(["snapshot-taken", "mirrored", "mirrors-ended"]);

/** Decisions that forbid going back. */
const pointsOfNoReturn: ReadonlySet<Fact> = new Set(["pivot", "merged", "clone"]);

export class StorageOperation {
  readonly #deps: OperationDeps;
  readonly #entry: DomainEntry;
  readonly #running: RunningOperation;
  readonly #plan: StoragePlan;

  constructor(deps: OperationDeps, entry: DomainEntry, running: RunningOperation, plan: StoragePlan) {
    this.#deps = deps;
    this.#entry = entry;
    this.#running = running;
    this.#plan = plan;
  }

  run(): Promise<void> {
    return runPlan(this.#context(), this.#hooks(), this.#plan.steps[0]);
  }

  /** QEMU's monitor is connected, or it is dead. */
  async recover(row: OperationRow<unknown>): Promise<void> {
    const view = readView(row);
    if (this.#entry.monitor !== undefined && isConnected(this.#entry.monitor)) {
      this.#running.decided = view.fact !== undefined && pointsOfNoReturn.has(view.fact);
      return await reconcileAlive(this.#context(), this.#hooks(), view);
    }
    const succeeded = await reconcileDead(this.#plan, this.#journal(), view);
    if (!succeeded) throw new QmError("QM_QEMU_GONE", { domain: this.#entry.name });
  }

  #context(): StepContext {
    const monitor = requireMonitor(this.#entry);
    const running = this.#running;
    // What needs no QEMU (copying takes hours) must not go on without it.
    const lost = new AbortController();
    void monitor.closed.then(() => lost.abort());
    return {
      plan: this.#plan,
      monitor,
      machine: this.#deps.machine(this.#entry),
      dialect: this.#deps.dialectByName(this.#plan.dialect),
      journal: this.#journal(),
      signal: AbortSignal.any([running.signal, lost.signal]),
      bytesPerS: () => running.bytesPerS,
      reportProgress: (disk, doneBytes, totalBytes) => running.reportProgress(disk, doneBytes, totalBytes),
    };
  }

  #hooks(): RunHooks {
    return {
      enterStep: (step) => {
        // The first step's intent is the journalled plan itself.
        if (step.journalled && step.name !== this.#plan.steps[0])
          this.#deps.store.operations.enterStep(this.#running.id, step.name);
        this.#running.enterStep(step.name);
      },
      fault: this.#deps.fault,
      decided: () => this.#running.decided,
    };
  }

  #journal(): OperationJournal {
    const { store } = this.#deps;
    const { id } = this.#running;
    return {
      establish: (fact, left = []) => this.#establish(fact, left),
      record: (kind, data) => store.operations.record(id, kind, data),
      has: (kind, data) =>
        store.operations
          .records(id)
          .some((record) => record.kind === kind && (data === undefined || record.data === data)),
    };
  }

  #establish(fact: Fact, left: readonly string[]): void {
    const { store, registry, events } = this.#deps;
    const [entry, plan, running] = [this.#entry, this.#plan, this.#running];
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
        for (const moved of followMove(plan, fact, existing)) registry.putSnapshot(entry, moved);
        const snapshot = applyToSnapshot(entry, plan, fact, left, existing);
        if (snapshot === undefined) {
          registry.removeSnapshot(entry, plan.snapshot.name);
          const heir = heirOf(plan.snapshot.name, existing);
          if (heir !== undefined) registry.putSnapshot(entry, { ...heir, current: true });
        } else {
          registry.putSnapshot(entry, snapshot);
          if (plan.config !== undefined) store.snapshots.putConfig(entry.uuid, snapshot.name, plan.config);
        }
        events.append(entry.name, "snapshot", { snapshot: plan.snapshot.name, operation: running.id, fact });
      }, durability);
    } catch (error) {
      Object.assign(entry, before);
      registry.forgetCached(entry);
      throw error;
    }
    if (pointsOfNoReturn.has(fact)) running.decided = true;
  }
}
