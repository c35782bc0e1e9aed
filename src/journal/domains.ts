import type { DatabaseSync } from "node:sqlite";
import { json, optionalJson, optionalText, text, toJson, type Row } from "./rows.ts";

export interface DomainRow<Run> {
  readonly uuid: string;
  readonly name: string;
  /** XML of a persistent domain's next start; absent: transient. */
  readonly definition?: string;
  /** The running QEMU; absent: not running. */
  readonly run?: Run;
}

export interface DomainTable {
  list<Run>(): DomainRow<Run>[];
  /** Inserts it, or replaces the one with its uuid. */
  put<Run>(row: DomainRow<Run>): void;
  /** Its snapshots' metadata go with it. */
  remove(uuid: string): void;
  /** Transient domains whose QEMU has ended, the last {@link keptDeparted}, newest first. */
  departed<Run, Mirrors>(): DepartedRow<Run, Mirrors>[];
}

/** A transient domain as it was when its QEMU ended or was let go: nothing else knows its definition then. */
export interface DepartedRow<Run, Mirrors> {
  readonly uuid: string;
  readonly name: string;
  readonly at: string;
  readonly run: Run;
  /** Of the mirrored snapshot that it had. */
  readonly mirrors?: Mirrors;
}

export const keptDeparted = 100;

export function createDomainTable(db: DatabaseSync): DomainTable {
  const list = db.prepare("SELECT * FROM domain ORDER BY name");
  const put = db.prepare(
    `INSERT INTO domain (uuid, name, definition, run) VALUES (?, ?, ?, ?)
     ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, definition = excluded.definition, run = excluded.run`,
  );
  const remove = db.prepare("DELETE FROM domain WHERE uuid = ?");
  // Only what has run: without an identity QEMU never started.
  const depart = db.prepare(
    `INSERT OR REPLACE INTO departed (uuid, name, at, run, mirrors)
     SELECT uuid, name, ?2, run, (SELECT mirrors FROM snapshot WHERE domain = ?1 AND mirrors IS NOT NULL)
     FROM domain WHERE uuid = ?1 AND definition IS NULL AND json_extract(run, '$.identity') IS NOT NULL`,
  );
  const prune = db.prepare(
    "DELETE FROM departed WHERE rowid NOT IN (SELECT rowid FROM departed ORDER BY rowid DESC LIMIT ?)",
  );
  const cameBack = db.prepare("DELETE FROM departed WHERE uuid = ?1 AND json_extract(?2, '$.identity') IS NOT NULL");
  const departed = db.prepare("SELECT * FROM departed WHERE uuid NOT IN (SELECT uuid FROM domain) ORDER BY rowid DESC");
  const remember = (uuid: string): void => {
    depart.run(uuid, new Date().toISOString());
    prune.run(keptDeparted);
  };
  return {
    list: <Run>() => list.all().map((row) => read<Run>(row)),
    put(row) {
      const run = toJson(row.run);
      if (run === null && row.definition === undefined) remember(row.uuid);
      put.run(row.uuid, row.name, row.definition ?? null, run);
      if (run !== null) cameBack.run(row.uuid, run);
    },
    remove(uuid) {
      remember(uuid);
      remove.run(uuid);
    },
    departed: <Run, Mirrors>() =>
      departed.all().map((row) => {
        const mirrors = optionalJson<Mirrors>(row, "mirrors");
        return {
          uuid: text(row, "uuid"),
          name: text(row, "name"),
          at: text(row, "at"),
          run: json<Run>(row, "run"),
          ...(mirrors === undefined ? {} : { mirrors }),
        };
      }),
  };
}

function read<Run>(row: Row): DomainRow<Run> {
  const definition = optionalText(row, "definition");
  const run = optionalJson<Run>(row, "run");
  return {
    uuid: text(row, "uuid"),
    name: text(row, "name"),
    ...(definition === undefined ? {} : { definition }),
    ...(run === undefined ? {} : { run }),
  };
}
