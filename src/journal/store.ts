/**
 * The state file: one SQLite database with domains, snapshots, layers, operations (the journal) and events. WAL with
 * `synchronous=FULL`: when a call returns, what it wrote survives a power failure.
 */
import { QmError, errorText } from "../base/errors.ts";
import { createDomainTable, type DomainTable } from "./domains.ts";
import { createEventTable, type EventTable } from "./events.ts";
import { createLayerTable, type LayerTable } from "./layers.ts";
import { openDatabase } from "./open-database.ts";
import { createOperationTable, type OperationTable } from "./operations.ts";
import { createSnapshotTable, type SnapshotTable } from "./snapshots.ts";

/**
 * What a write has survived when the call returns: by default a power failure. `process-death` is for what recovery can do without;
 * it survives a power failure too once a later write has waited for the disk.
 */
export type Durability = "power-failure" | "process-death";

/** Every call that SQLite cannot carry out (the disk is full, the file is damaged) throws `QM_JOURNAL`; nothing was written then. */
export interface Store {
  readonly path: string;
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
  const db = wrapErrors(path, () => openDatabase(path));
  let inTransaction = false;
  const transact = <T>(work: () => T): T => {
    inTransaction = true;
    try {
      wrapErrors(path, () => db.exec("BEGIN IMMEDIATE"));
      const result = work();
      wrapErrors(path, () => db.exec("COMMIT"));
      return result;
    } catch (error) {
      // SQLite ends it by itself where the disk is full.
      if (db.isTransaction) db.exec("ROLLBACK");
      throw error;
    } finally {
      inTransaction = false;
    }
  };
  return {
    path,
    domains: guardTable(path, createDomainTable(db)),
    snapshots: guardTable(path, createSnapshotTable(db)),
    layers: guardTable(path, createLayerTable(db)),
    operations: guardTable(path, createOperationTable(db)),
    events: guardTable(path, createEventTable(db)),
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

/** The same table, whose methods throw as the store's contract says. */
function guardTable<Table extends object>(path: string, table: Table): Table {
  const guarded = Object.entries(table).map(([name, method]: [string, (...args: unknown[]) => unknown]) => [
    name,
    (...args: unknown[]) => wrapErrors(path, () => method(...args)),
  ]);
  return Object.fromEntries(guarded) as Table;
}

function wrapErrors<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof QmError) throw error;
    throw new QmError("QM_JOURNAL", { path, reason: errorText(error) }, { cause: error });
  }
}
