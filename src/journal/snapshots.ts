import type { DatabaseSync } from "node:sqlite";
import { json, optionalJson, text, toJson } from "./rows.ts";

export interface SnapshotRow<Document, Mirrors> {
  readonly domain: string;
  readonly name: string;
  readonly current: boolean;
  readonly document: Document;
  /** Present while the snapshot is mirrored. */
  readonly mirrors?: Mirrors;
}

export interface SnapshotTable {
  /** In the order of their creation. */
  list<Document, Mirrors>(domain: string): SnapshotRow<Document, Mirrors>[];
  /** Inserts or replaces it by name. A current one takes that from the others of its domain. */
  put<Document, Mirrors>(row: SnapshotRow<Document, Mirrors>): void;
  remove(domain: string, name: string): void;
}

export function createSnapshotTable(db: DatabaseSync): SnapshotTable {
  const list = db.prepare("SELECT * FROM snapshot WHERE domain = ? ORDER BY rowid");
  const clearCurrent = db.prepare("UPDATE snapshot SET is_current = 0 WHERE domain = ? AND name <> ?");
  const put = db.prepare(
    `INSERT INTO snapshot (domain, name, is_current, document, mirrors) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (domain, name) DO UPDATE
     SET is_current = excluded.is_current, document = excluded.document, mirrors = excluded.mirrors`,
  );
  const remove = db.prepare("DELETE FROM snapshot WHERE domain = ? AND name = ?");
  return {
    list: <Document, Mirrors>(domain: string) =>
      list.all(domain).map((row) => {
        const mirrors = optionalJson<Mirrors>(row, "mirrors");
        return {
          domain: text(row, "domain"),
          name: text(row, "name"),
          current: row["is_current"] === 1,
          document: json<Document>(row, "document"),
          ...(mirrors === undefined ? {} : { mirrors }),
        };
      }),
    put(row) {
      if (row.current) clearCurrent.run(row.domain, row.name);
      put.run(row.domain, row.name, row.current ? 1 : 0, JSON.stringify(row.document), toJson(row.mirrors));
    },
    remove: (domain, name) => void remove.run(domain, name),
  };
}
