import type { TruthChange } from "../engine/steps/task-plan.ts";
import type { Store } from "../journal/store.ts";
import { withSource } from "../model/disk-backing.ts";
import type { DomainDefinition } from "../model/domain.ts";
import type { DomainEntry, StoredRun } from "./domain-entry.ts";
import type { DomainRegistry } from "./domain-registry.ts";

/** Writes what `change` says to the state file and the entry. Call it in a transaction; twice is the same as once. */
export function applyChange(registry: DomainRegistry, store: Store, entry: DomainEntry, change: TruthChange): void {
  const { images = [], definition } = change;
  if (entry.run !== undefined) {
    entry.run = withCopies({ ...entry.run, definition: follow(entry.run.definition, images) }, change);
  }
  if (definition !== undefined) entry.definition = definition;
  else if (entry.definition !== undefined) entry.definition = follow(entry.definition, images);
  const copies = change.copies !== undefined || change.endedCopies !== undefined;
  if (images.length > 0 || definition !== undefined || copies) registry.save(entry);
  const existing = new Map(registry.snapshots(entry).map((snapshot) => [snapshot.name, snapshot]));
  for (const { document, deleting, config } of change.snapshots ?? []) {
    const before = existing.get(document.name);
    registry.putSnapshot(entry, {
      ...(before ?? { domain: entry.uuid, name: document.name, current: false }),
      document,
      deleting,
    });
    if (config !== undefined) store.snapshots.putConfig(entry.uuid, document.name, config);
  }
  for (const name of change.removedSnapshots ?? []) registry.removeSnapshot(entry, name);
  if (change.current !== undefined) setCurrent(registry, entry, change.current);
  for (const { disk, image, reason } of change.layers ?? []) {
    store.layers.put({ domain: entry.uuid, disk, path: image.path, image, reason });
  }
  for (const path of change.forgottenLayers ?? []) store.layers.remove(entry.uuid, path);
}

/** Makes the snapshot the current one; null: none is. */
export function setCurrent(registry: DomainRegistry, entry: DomainEntry, name: string | null): void {
  for (const snapshot of registry.snapshots(entry)) {
    const current = snapshot.name === name;
    if (snapshot.current !== current) registry.putSnapshot(entry, { ...snapshot, current });
  }
}

/** A disk that was redefined meanwhile names an image of its own: that is the user's word for the next start. */
function follow(definition: DomainDefinition, images: NonNullable<TruthChange["images"]>): DomainDefinition {
  return {
    ...definition,
    disks: definition.disks.map((disk) => {
      const change = images.find((one) => one.disk === disk.target && one.from === disk.source?.path);
      return change === undefined ? disk : withSource(disk, change.to);
    }),
  };
}

function withCopies(run: StoredRun, { copies = [], endedCopies = [] }: TruthChange): StoredRun {
  const replaced = new Set([...endedCopies, ...copies.map(({ disk }) => disk)]);
  const others = (run.copies ?? []).filter(({ disk }) => !replaced.has(disk));
  return { ...run, copies: [...others, ...copies] };
}
