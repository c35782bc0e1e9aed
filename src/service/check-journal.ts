/** Whether this qmirror understands all that the state file says of domains and of operations that have no end yet. */
import { operationKinds } from "../api-types/index.ts";
import { errorText, QmError } from "../base/errors.ts";
import { readView } from "../engine/recovery/reconcile.ts";
import { stepNames, type StoragePlan } from "../engine/steps/storage-plan.ts";
import { isTaskName } from "../engine/steps/tasks/index.ts";
import type { TaskPlan } from "../engine/steps/task-plan.ts";
import type { DomainRow } from "../journal/domains.ts";
import type { OperationRow } from "../journal/operations.ts";
import type { Store } from "../journal/store.ts";
import { parseDomain } from "../model/domain-parse.ts";
import { dialectNames } from "../qemu/mirror-dialect/dialect.ts";
import type { StoredRun } from "./domain-entry.ts";

/** `QM_JOURNAL` names the first thing that cannot be understood. Nothing may be touched then: what is not understood is not guessed. */
export function checkJournal(store: Store): void {
  for (const row of store.domains.list<StoredRun>()) {
    refuse(store, `domain '${row.name}'`, () => checkDomain(row));
  }
  for (const row of store.operations.list<StoragePlan | TaskPlan>({ running: true })) {
    refuse(store, `operation ${row.id}`, () => checkOperation(row));
  }
}

function refuse(store: Store, what: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new QmError("QM_JOURNAL", { path: store.path, reason: `${what}: ${errorText(error)}` }, { cause: error });
  }
}

function checkDomain({ definition, run }: DomainRow<StoredRun>): void {
  if (definition !== undefined) parseDomain(definition);
  if (run !== undefined && !(Number.isInteger(run.id) && Array.isArray(run.definition.disks))) {
    throw new Error("its run is not one");
  }
}

function checkOperation(row: OperationRow<StoragePlan | TaskPlan>): void {
  const { plan } = row;
  if (!operationKinds.some((kind) => kind === row.kind)) throw new Error(`its kind '${row.kind}' is unknown`);
  if (plan.id !== row.id || plan.domain.uuid !== row.domain) throw new Error("its plan is another operation's");
  if ("tasks" in plan) return checkTasks(row.step, plan);
  const unknown = plan.steps.find((step) => !stepNames.includes(step));
  if (unknown !== undefined) throw new Error(`its step '${unknown}' is unknown`);
  if (!dialectNames.includes(plan.dialect)) throw new Error(`its dialect '${plan.dialect}' is unknown`);
  if (!plan.steps.includes(readView(row).step)) throw new Error(`it is at '${row.step}', which is no step of its plan`);
}

function checkTasks(step: string, { tasks, decidedAt }: TaskPlan): void {
  const unknown = tasks.find(({ task }) => !isTaskName(task));
  if (unknown !== undefined) throw new Error(`its task '${unknown.task}' is unknown`);
  const index = Number.parseInt(step, 10);
  if (!(index >= 0 && index < tasks.length)) throw new Error(`it is at '${step}', which is no task of its plan`);
  if (tasks[decidedAt] === undefined) throw new Error("its plan has no task that decides");
}
