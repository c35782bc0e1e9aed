import type { DatabaseSync } from "node:sqlite";
import { json, text } from "./rows.ts";

export interface EventRow {
  readonly seq: number;
  readonly at: string;
  /** Name of the domain at that time. */
  readonly domain: string;
  readonly type: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface EventTable {
  append(event: Omit<EventRow, "seq" | "at">): EventRow;
  /** Up to `limit` events after `seq`, oldest first. */
  after(seq: number, limit: number): EventRow[];
  /** Keeps the newest `keep` events. */
  prune(keep: number): void;
}

export function createEventTable(db: DatabaseSync): EventTable {
  const insert = db.prepare("INSERT INTO event (at, domain, type, detail) VALUES (?, ?, ?, ?)");
  const after = db.prepare("SELECT * FROM event WHERE seq > ? ORDER BY seq LIMIT ?");
  const prune = db.prepare("DELETE FROM event WHERE seq <= (SELECT max(seq) FROM event) - ?");
  return {
    append(event) {
      const at = new Date().toISOString();
      const { lastInsertRowid } = insert.run(at, event.domain, event.type, JSON.stringify(event.detail));
      return { ...event, seq: Number(lastInsertRowid), at };
    },
    after: (seq, limit) =>
      after.all(seq, limit).map((row) => ({
        seq: Number(row["seq"]),
        at: text(row, "at"),
        domain: text(row, "domain"),
        type: text(row, "type"),
        detail: json<Readonly<Record<string, unknown>>>(row, "detail"),
      })),
    prune: (keep) => void prune.run(keep),
  };
}
