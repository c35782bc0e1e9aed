import type { DatabaseSync } from "node:sqlite";
import { json, text } from "./rows.ts";

/** An image of ours that no snapshot names: it is removed or merged as soon as that is possible. */
export interface LayerRow<Image> {
  readonly domain: string;
  readonly disk: string;
  readonly path: string;
  readonly image: Image;
  /** Why it is there. */
  readonly reason: string;
}

export interface LayerTable {
  list<Image>(domain: string): LayerRow<Image>[];
  /** Inserts or replaces it by path. */
  put<Image>(row: LayerRow<Image>): void;
  remove(domain: string, path: string): void;
}

export function createLayerTable(db: DatabaseSync): LayerTable {
  const list = db.prepare("SELECT * FROM layer WHERE domain = ? ORDER BY rowid");
  const put = db.prepare(
    `INSERT INTO layer (domain, disk, path, image, reason) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (domain, path) DO UPDATE SET disk = excluded.disk, image = excluded.image, reason = excluded.reason`,
  );
  const remove = db.prepare("DELETE FROM layer WHERE domain = ? AND path = ?");
  return {
    list: <Image>(domain: string) =>
      list.all(domain).map((row) => ({
        domain: text(row, "domain"),
        disk: text(row, "disk"),
        path: text(row, "path"),
        image: json<Image>(row, "image"),
        reason: text(row, "reason"),
      })),
    put: (row) => void put.run(row.domain, row.disk, row.path, JSON.stringify(row.image), row.reason),
    remove: (domain, path) => void remove.run(domain, path),
  };
}
