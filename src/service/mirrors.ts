/** The mirrors of a snapshot: switched to, given up, started again. */
import { QmError } from "../base/errors.ts";
import { planAbort, planPivot, planRestart } from "../engine/plans/plan-snapshot.ts";
import { mirrorPaths, type StoragePlan } from "../engine/steps/storage-plan.ts";
import { removeFile } from "../image/files.ts";
import { requireMonitor, type DomainEntry, type SnapshotEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import { assertNotBusy } from "./guards.ts";
import { newOperationId } from "./operation-id.ts";
import type { RunningOperation } from "./running-operation.ts";
import { withReadBacking } from "./snapshot-targets.ts";
import { applyToSnapshot } from "./truth.ts";

export async function pivotMirrors(
  { operations }: LifecycleDeps,
  entry: DomainEntry,
  snapshot: SnapshotEntry,
): Promise<RunningOperation> {
  const mirrors = requireMirrors(entry, snapshot);
  for (const [disk, { state, reason }] of Object.entries(mirrors.states)) {
    if (state === "starting") throw new QmError("QM_MIRROR_NOT_READY", { disk, state });
    if (state !== "ready") throw new QmError("QM_MIRROR_BROKEN", { disk, reason: reason ?? state });
  }
  assertNotBusy(entry);
  requireMonitor(entry);
  const plan = await withReadBacking(planPivot(mirrors.plan, newOperationId()));
  return operations.start(entry, "pivot", plan);
}

/** No operation where QEMU is gone. */
export async function abortMirrors(
  deps: LifecycleDeps,
  entry: DomainEntry,
  snapshot: SnapshotEntry,
): Promise<RunningOperation | undefined> {
  const mirrors = requireMirrors(entry, snapshot);
  assertNotBusy(entry);
  const plan = planAbort(mirrors.plan, newOperationId());
  if (entry.run !== undefined) return deps.operations.start(entry, "abort", plan);
  await forgetLostMirrors(deps, entry, plan);
  return undefined;
}

/** Over the files that they had; all of them, the healthy ones too: they have to be ready at one instant. */
export function restartMirrors(
  { operations }: LifecycleDeps,
  entry: DomainEntry,
  snapshot: SnapshotEntry,
): RunningOperation {
  const mirrors = requireMirrors(entry, snapshot);
  assertNotBusy(entry);
  requireMonitor(entry);
  if (Object.values(mirrors.states).every(({ state }) => state === "ready")) {
    throw new QmError("QM_INVALID", { reason: `every mirror of snapshot '${snapshot.name}' is ready` });
  }
  return operations.start(entry, "mirror-restart", planRestart(mirrors.plan, newOperationId()));
}

/** Without QEMU there are no jobs to end: what is left of the mirrors are their files. */
async function forgetLostMirrors(
  { store, registry, events }: LifecycleDeps,
  entry: DomainEntry,
  plan: StoragePlan,
): Promise<void> {
  await Promise.all(mirrorPaths(plan).map((path) => removeFile(path)));
  store.atomically(() => {
    const after = applyToSnapshot(entry, plan, "mirrors-ended", [], registry.snapshots(entry));
    if (after !== undefined) registry.putSnapshot(entry, after);
    events.append(entry.name, "snapshot", { snapshot: plan.snapshot.name, fact: "mirrors-ended" });
  });
}

function requireMirrors(entry: DomainEntry, snapshot: SnapshotEntry): NonNullable<SnapshotEntry["mirrors"]> {
  if (snapshot.mirrors === undefined) {
    throw new QmError("QM_SNAPSHOT_NOT_MIRRORED", { domain: entry.name, snapshot: snapshot.name });
  }
  return snapshot.mirrors;
}
