/** All domains, by name and uuid, held in memory and written through to the state file. */
import { QmError } from "../base/errors.ts";
import type { Store } from "../journal/store.ts";
import { formatDomain } from "../model/domain-format.ts";
import { parseDomain } from "../model/domain-parse.ts";
import type { Snapshot } from "../model/snapshot.ts";
import type { DomainEntry, SnapshotEntry, StoredMirrors, StoredRun } from "./domain-entry.ts";

export class DomainRegistry {
  readonly #store: Store;
  readonly #entries = new Map<string, DomainEntry>();
  /** Read once: lists and guards look at them all the time. */
  readonly #snapshots = new Map<string, SnapshotEntry[]>();
  #lastRunId = 0;

  constructor(store: Store) {
    this.#store = store;
    for (const row of store.domains.list<StoredRun>()) {
      this.#entries.set(row.uuid, {
        uuid: row.uuid,
        name: row.name,
        paused: false,
        ...(row.definition === undefined ? {} : { definition: parseDomain(row.definition) }),
        ...(row.run === undefined ? {} : { run: row.run }),
      });
      this.#lastRunId = Math.max(this.#lastRunId, row.run?.id ?? 0);
    }
  }

  list(): DomainEntry[] {
    return [...this.#entries.values()].sort((left, right) => left.name.localeCompare(right.name));
  }

  find(nameOrUuid: string): DomainEntry | undefined {
    return this.#entries.get(nameOrUuid.toLowerCase()) ?? this.list().find((entry) => entry.name === nameOrUuid);
  }

  get(nameOrUuid: string): DomainEntry {
    const entry = this.find(nameOrUuid);
    if (entry === undefined) throw new QmError("QM_NO_DOMAIN", { domain: nameOrUuid });
    return entry;
  }

  nextRunId(): number {
    this.#lastRunId += 1;
    return this.#lastRunId;
  }

  /** Writes the entry to the state file, and keeps it. */
  save(entry: DomainEntry): void {
    this.#store.domains.put<StoredRun>({
      uuid: entry.uuid,
      name: entry.name,
      ...(entry.definition === undefined ? {} : { definition: formatDomain(entry.definition) }),
      ...(entry.run === undefined ? {} : { run: entry.run }),
    });
    this.#entries.set(entry.uuid, entry);
  }

  remove(entry: DomainEntry): void {
    this.#store.domains.remove(entry.uuid);
    this.#entries.delete(entry.uuid);
    this.#snapshots.delete(entry.uuid);
  }

  /** In the order of their creation. */
  snapshots(entry: DomainEntry): readonly SnapshotEntry[] {
    let list = this.#snapshots.get(entry.uuid);
    if (list === undefined) {
      list = this.#store.snapshots.list<Snapshot, StoredMirrors>(entry.uuid);
      this.#snapshots.set(entry.uuid, list);
    }
    return list;
  }

  /** Inserts or replaces it by name. A current one takes that from the others. After a transaction that failed: `forgetCached`. */
  putSnapshot(entry: DomainEntry, snapshot: SnapshotEntry): void {
    this.#store.snapshots.put(snapshot);
    const list = this.snapshots(entry).map((other) =>
      snapshot.current && other.current && other.name !== snapshot.name ? { ...other, current: false } : other,
    );
    const place = list.findIndex(({ name }) => name === snapshot.name);
    if (place < 0) list.push(snapshot);
    else list[place] = snapshot;
    this.#snapshots.set(entry.uuid, list);
  }

  removeSnapshot(entry: DomainEntry, name: string): void {
    this.#store.snapshots.remove(entry.uuid, name);
    this.#snapshots.set(
      entry.uuid,
      this.snapshots(entry).filter((snapshot) => snapshot.name !== name),
    );
  }

  /** The state file may hold other snapshots than were written here: a transaction was rolled back. */
  forgetCached(entry: DomainEntry): void {
    this.#snapshots.delete(entry.uuid);
  }

  getSnapshot(entry: DomainEntry, name: string): SnapshotEntry {
    const found = this.snapshots(entry).find((snapshot) => snapshot.name === name);
    if (found === undefined) throw new QmError("QM_NO_SNAPSHOT", { domain: entry.name, snapshot: name });
    return found;
  }

  mirroredSnapshot(entry: DomainEntry): SnapshotEntry | undefined {
    return this.snapshots(entry).find((snapshot) => snapshot.mirrors !== undefined);
  }
}
