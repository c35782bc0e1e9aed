/**
 * The state file: one SQLite database with domains, snapshots, layers, operations (the journal) and events. WAL with
 * `synchronous=FULL`: when a call returns, what it wrote survives a power failure.
 */
import { closeSync, openSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { QmError, errorText } from "../base/errors.ts";
import { createDomainTable, type DomainTable } from "./domains.ts";
import { createEventTable, type EventTable } from "./events.ts";
import { createLayerTable, type LayerTable } from "./layers.ts";
import { migrateSchema } from "./migrations.ts";
import { createOperationTable, type OperationTable } from "./operations.ts";
import { createSnapshotTable, type SnapshotTable } from "./snapshots.ts";

/**
 * What a write has survived when the call returns: by default a power failure. `process-death` is for what recovery can do without;
 * it survives a power failure too once a later write has waited for the disk.
 */
export type Durability = "power-failure" | "process-death";

export interface Store {
  readonly domains: DomainTable;
  readonly snapshots: SnapshotTable;
  readonly layers: LayerTable;
  readonly operations: OperationTable;
  readonly events: EventTable;
  /** All writes of `work` become durable together, or none when it throws; a call inside of another joins it. `work` is synchronous. */
  atomically<T>(work: () => T, durability?: Durability): T;
  close(): void;
}

/** Opens or creates the state file. `QM_JOURNAL` when it is damaged, or was written by a newer qmirror: it is then left as it is. */
export function openStore(path: string): Store {
  const db = openDatabase(path);
  let inTransaction = false;
  const transact = <T>(work: () => T): T => {
    inTransaction = true;
    db.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      db.exec("COMMIT");
      return result;
    } catch (error) {
      db.exec("ROLLBACK");
      throw error;
    } finally {
      inTransaction = false;
    }
  };
  return {
    domains: createDomainTable(db),
    snapshots: createSnapshotTable(db),
    layers: createLayerTable(db),
    operations: createOperationTable(db),
    events: createEventTable(db),
    atomically(work, durability = "power-failure") {
      if (inTransaction) return work();
      if (durability === "power-failure") return transact(work);
      db.exec("PRAGMA synchronous = NORMAL");
      try {
        return transact(work);
      } finally {
        db.exec("PRAGMA synchronous = FULL");
      }
    },
    close: () => db.close(),
  };
}

function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    // Names and paths of people's disks: for the owner alone, whatever the directory's mode. SQLite's other files take it over.
    closeSync(openSync(path, "a", 0o600));
    db = new DatabaseSync(path, { timeout: 5000 });
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
    const [check] = db.prepare("PRAGMA quick_check(1)").all();
    if (check?.["quick_check"] !== "ok") throw new Error(String(check?.["quick_check"]));
    migrateSchema(db);
    return db;
  } catch (error) {
    db?.close();
    throw new QmError("QM_JOURNAL", { path, reason: errorText(error) }, { cause: error });
  }
}
