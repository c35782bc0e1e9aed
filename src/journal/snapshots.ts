import type { DatabaseSync } from "node:sqlite";
import { json, optionalJson, text, toJson } from "./rows.ts";

export interface SnapshotRow<Document, Mirrors> {
  readonly domain: string;
  readonly name: string;
  readonly current: boolean;
  /** Deleting it has begun: parts of its data may be gone. */
  readonly deleting: boolean;
  readonly document: Document;
  /** Present while the snapshot is mirrored. */
  readonly mirrors?: Mirrors;
}

export interface SnapshotTable {
  /** In the order of their creation. */
  list<Document, Mirrors>(domain: string): SnapshotRow<Document, Mirrors>[];
  /** Inserts or replaces it by name; its `config` stays. A current one takes that from the others of its domain. */
  put<Document, Mirrors>(row: SnapshotRow<Document, Mirrors>): void;
  /** The domain as it was when the snapshot was taken: large, and rarely needed. Absent: not known. */
  config<Config>(domain: string, name: string): Config | undefined;
  putConfig<Config>(domain: string, name: string, config: Config | undefined): void;
  remove(domain: string, name: string): void;
}

export function createSnapshotTable(db: DatabaseSync): SnapshotTable {
  const list = db.prepare(
    "SELECT domain, name, is_current, deleting, document, mirrors FROM snapshot WHERE domain = ? ORDER BY rowid",
  );
  const clearCurrent = db.prepare("UPDATE snapshot SET is_current = 0 WHERE domain = ? AND name <> ?");
  const put = db.prepare(
    `INSERT INTO snapshot (domain, name, is_current, deleting, document, mirrors) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (domain, name) DO UPDATE
     SET is_current = excluded.is_current, deleting = excluded.deleting, document = excluded.document,
         mirrors = excluded.mirrors`,
  );
  const config = db.prepare("SELECT config FROM snapshot WHERE domain = ? AND name = ?");
  const putConfig = db.prepare("UPDATE snapshot SET config = ? WHERE domain = ? AND name = ?");
  const remove = db.prepare("DELETE FROM snapshot WHERE domain = ? AND name = ?");
  return {
    list: <Document, Mirrors>(domain: string) =>
      list.all(domain).map((row) => {
        const mirrors = optionalJson<Mirrors>(row, "mirrors");
        return {
          domain: text(row, "domain"),
          name: text(row, "name"),
          current: row["is_current"] === 1,
          deleting: row["deleting"] === 1,
          document: json<Document>(row, "document"),
          ...(mirrors === undefined ? {} : { mirrors }),
        };
      }),
    put(row) {
      if (row.current) clearCurrent.run(row.domain, row.name);
      const flags = [row.current, row.deleting].map(Number);
      put.run(row.domain, row.name, ...flags, JSON.stringify(row.document), toJson(row.mirrors));
    },
    config<Config>(domain: string, name: string) {
      const row = config.get(domain, name);
      return row === undefined ? undefined : optionalJson<Config>(row, "config");
    },
    putConfig: (domain, name, value) => void putConfig.run(toJson(value), domain, name),
    remove: (domain, name) => void remove.run(domain, name),
  };
}
