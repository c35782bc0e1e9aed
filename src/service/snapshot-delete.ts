/** Deleting snapshots: their names, and the layers that nobody needs without them. */
import type { LayerFate, SnapshotDeleteBody } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import { planDelete, type DeletePlan } from "../engine/plans/plan-delete.ts";
import { probeDialect } from "../qemu/mirror-dialect/index.ts";
import { presentDefinition, requireMonitor, type DomainEntry, type SnapshotEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import { assertNotBusy, assertNotCopied, assertNotMirrored } from "./guards.ts";
import { surveyLayers } from "./layer-survey.ts";
import { newOperationId } from "./operation-id.ts";
import type { RunningOperation } from "./running-operation.ts";
import { descendantsOf } from "./snapshot-tree.ts";

export interface Deletion {
  readonly names: readonly string[];
  readonly layers: readonly LayerFate[];
  /** Absent where nothing but metadata goes. */
  readonly plan?: DeletePlan["plan"];
}

/** What the request means, without doing any of it; every check is made. */
export async function planDeletion(
  deps: LifecycleDeps,
  entry: DomainEntry,
  snapshot: SnapshotEntry,
  request: SnapshotDeleteBody,
): Promise<Deletion> {
  const { registry } = deps;
  assertNotBusy(entry);
  assertNotMirrored(registry, entry, "deleting snapshots");
  assertNotCopied(entry, "deleting snapshots");
  const all = registry.snapshots(entry);
  const below = request.children === true || request.childrenOnly === true ? descendantsOf(all, snapshot.name) : [];
  const names = [...(request.childrenOnly === true ? [] : [snapshot.name]), ...below.map(({ name }) => name)];
  if (request.metadataOnly === true || names.length === 0) return { names, layers: [] };
  const wanted = new Set(names);
  if (entry.run !== undefined) await assertMergeable(entry);
  const current = all.find((one) => one.current)?.name;
  const { disks } = presentDefinition(entry);
  const { plan, fates } = planDelete({
    id: newOperationId(),
    domain: { uuid: entry.uuid, name: entry.name },
    tree: await surveyLayers(deps, entry),
    names: wanted,
    deleting: new Set(all.filter(({ deleting }) => deleting).map(({ name }) => name)),
    ...(current === undefined ? {} : { current }),
    bytesPerS: 0,
    discard: new Map(disks.flatMap(({ target, discard }) => (discard === undefined ? [] : [[target, discard]]))),
  });
  return { names, layers: fates, plan };
}

export function startDeletion(
  deps: LifecycleDeps,
  entry: DomainEntry,
  deletion: Deletion,
): RunningOperation | undefined {
  if (deletion.plan !== undefined) return deps.operations.start(entry, "snapshot-delete", deletion.plan);
  forget(deps, entry, new Set(deletion.names));
  return undefined;
}

/** Metadata only: children get the nearest parent that remains, and so does the current one. Images stay as they are. */
export function forget(
  { store, registry, events }: LifecycleDeps,
  entry: DomainEntry,
  names: ReadonlySet<string>,
): void {
  const all = registry.snapshots(entry);
  const parents = new Map(all.map(({ name, document }) => [name, document.parent]));
  const remaining = (name: string | undefined): string | undefined => {
    let found = name;
    while (found !== undefined && names.has(found)) found = parents.get(found);
    return found;
  };
  const heir = remaining(all.find(({ current }) => current)?.name);
  try {
    store.atomically(() => {
      for (const name of names) registry.removeSnapshot(entry, name);
      for (const snapshot of registry.snapshots(entry)) {
        const parent = remaining(snapshot.document.parent);
        const current = snapshot.name === heir;
        if (parent === snapshot.document.parent && current === snapshot.current) continue;
        const { parent: _gone, ...rest } = snapshot.document;
        registry.putSnapshot(entry, {
          ...snapshot,
          current,
          document: parent === undefined ? rest : { ...rest, parent },
        });
      }
      for (const name of names) events.append(entry.name, "snapshot", { snapshot: name, event: "forgotten" });
    });
  } catch (error) {
    registry.forgetCached(entry);
    throw error;
  }
}

/** QEMU merges only layers that it can name. */
async function assertMergeable(entry: DomainEntry): Promise<void> {
  if ((await probeDialect(requireMonitor(entry))) !== "blockdev") {
    throw new QmError("QM_QEMU_TOO_OLD", { missing: "named block nodes, without which layers cannot be merged" });
  }
}
