/** Recording a snapshot that exists, from its document; no disk is touched. */
import { QmError } from "../base/errors.ts";
import { parseSnapshotRedefinition } from "../model/snapshot-redefine.ts";
import type { DomainEntry, SnapshotEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import { assertNotBusy } from "./guards.ts";
import { setCurrent } from "./truth-change.ts";

/** libvirt's `VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE`. One of that name is replaced, when it is of the same kind. */
export function redefineSnapshot(
  { registry, store, events }: LifecycleDeps,
  entry: DomainEntry,
  xml: string,
  current: boolean,
): SnapshotEntry {
  assertNotBusy(entry);
  const { snapshot, config } = parseSnapshotRedefinition(xml, entry);
  const all = registry.snapshots(entry);
  const before = all.find(({ name }) => name === snapshot.name);
  const refuse = (reason: string) => new QmError("QM_SNAPSHOT_TREE", { snapshot: snapshot.name, reason });
  if (before?.mirrors !== undefined) {
    throw new QmError("QM_DOMAIN_MIRRORED", { domain: entry.name, snapshot: before.name, what: "redefining it" });
  }
  if (before?.deleting === true) {
    throw new QmError("QM_SNAPSHOT_DELETING", { domain: entry.name, snapshot: before.name, what: "redefining it" });
  }
  if (before !== undefined && before.document.state !== snapshot.state) {
    throw refuse(`its state is '${before.document.state}', which cannot become '${snapshot.state}'`);
  }
  const parents = new Map(all.map(({ name, document }) => [name, document.parent]));
  if (snapshot.parent !== undefined && !parents.has(snapshot.parent) && snapshot.parent !== snapshot.name) {
    throw refuse(`its parent '${snapshot.parent}' is not known; redefine that first`);
  }
  for (let name = snapshot.parent; name !== undefined; name = parents.get(name)) {
    if (name === snapshot.name) throw refuse(`with the parent '${snapshot.parent}' it would be its own ancestor`);
  }
  const stored: SnapshotEntry = {
    domain: entry.uuid,
    name: snapshot.name,
    current: before?.current ?? false,
    deleting: false,
    document: snapshot,
  };
  try {
    store.atomically(() => {
      registry.putSnapshot(entry, stored);
      if (config !== undefined) store.snapshots.putConfig(entry.uuid, snapshot.name, config);
      if (current) setCurrent(registry, entry, snapshot.name);
      events.append(entry.name, "snapshot", { snapshot: snapshot.name, event: "redefined" });
    });
  } catch (error) {
    registry.forgetCached(entry);
    throw error;
  }
  return registry.getSnapshot(entry, snapshot.name);
}
