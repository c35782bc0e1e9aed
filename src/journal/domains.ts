import type { DatabaseSync } from "node:sqlite";
import { optionalJson, optionalText, text, toJson, type Row } from "./rows.ts";

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
}

export function createDomainTable(db: DatabaseSync): DomainTable {
  const list = db.prepare("SELECT * FROM domain ORDER BY name");
  const put = db.prepare(
    `INSERT INTO domain (uuid, name, definition, run) VALUES (?, ?, ?, ?)
     ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, definition = excluded.definition, run = excluded.run`,
  );
  const remove = db.prepare("DELETE FROM domain WHERE uuid = ?");
  return {
    list: <Run>() => list.all().map((row) => read<Run>(row)),
    put: (row) => void put.run(row.uuid, row.name, row.definition ?? null, toJson(row.run)),
    remove: (uuid) => void remove.run(uuid),
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
