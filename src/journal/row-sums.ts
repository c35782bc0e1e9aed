/**
 * A checksum beside each row that says what is true. SQLite checks the structure of its pages, not their content: a byte that flips
 * inside of a path would name another file. The triggers are this connection's own, so that the file stays usable with other tools;
 * who mends a row by hand sets its `sum` to NULL, and the next start makes it anew.
 */
import type { DatabaseSync } from "node:sqlite";
import { crc32 } from "node:zlib";

/** Columns by table; the first one names a row for people. Events decide nothing and have none. */
const summed: Readonly<Record<string, readonly [string, ...string[]]>> = {
  domain: ["name", "uuid", "definition", "run"],
  snapshot: ["name", "domain", "is_current", "deleting", "document", "mirrors", "config"],
  layer: ["path", "domain", "disk", "image", "reason"],
  operation: ["id", "domain", "kind", "state", "step", "plan", "decision", "error", "result", "started_at", "ended_at"],
  record: ["operation", "seq", "at", "kind", "data"],
  departed: ["name", "uuid", "at", "run", "mirrors"],
};

const jsonColumns: Readonly<Record<string, readonly string[]>> = {
  domain: ["run"],
  snapshot: ["document", "mirrors", "config"],
  layer: ["image"],
  operation: ["plan", "error", "result"],
  record: ["data"],
  departed: ["run", "mirrors"],
  event: ["detail"],
};

const operationStates = ["running", "succeeded", "failed", "cancelled"];

/** Throws an `Error` that names the first row which is not as it was written. Rows without a checksum get theirs. */
export function checkRows(db: DatabaseSync): void {
  db.function("row_sum", { varargs: true, deterministic: true }, (...values: readonly unknown[]) =>
    crc32(JSON.stringify(values)).toString(16),
  );
  for (const [table, columns] of Object.entries(jsonColumns)) {
    for (const column of columns) {
      refuseRow(db, table, `NOT json_valid(${column})`, `its ${column} is not JSON`);
    }
  }
  for (const [table, columns] of Object.entries(summed)) {
    const sum = `row_sum(${columns.join(", ")})`;
    refuseRow(db, table, `sum <> ${sum}`, "its content does not match its checksum");
    db.exec(`UPDATE ${table} SET sum = ${sum} WHERE sum IS NULL`);
  }
  const states = operationStates.map((state) => `'${state}'`).join(", ");
  refuseRow(db, "operation", `state NOT IN (${states})`, "its state is unknown");
  const [orphan] = db.prepare("PRAGMA foreign_key_check").all();
  if (orphan !== undefined)
    throw new Error(`a row of table ${String(orphan["table"])} belongs to no ${String(orphan["parent"])}`);
}

/** From now on each write of this connection sums its row. After {@link checkRows}. */
export function keepRowSums(db: DatabaseSync): void {
  for (const [table, columns] of Object.entries(summed)) {
    const act = `BEGIN UPDATE ${table} SET sum = row_sum(${columns.join(", ")}) WHERE rowid = NEW.rowid; END`;
    db.exec(`CREATE TEMP TRIGGER ${table}_inserted AFTER INSERT ON main.${table} ${act};
      CREATE TEMP TRIGGER ${table}_updated AFTER UPDATE OF ${columns.join(", ")} ON main.${table} ${act};`);
  }
}

function refuseRow(db: DatabaseSync, table: string, condition: string, reason: string): void {
  const [name] = summed[table] ?? ["seq"];
  const row = db.prepare(`SELECT ${name} AS name FROM ${table} WHERE ${condition} LIMIT 1`).get();
  if (row !== undefined) throw new Error(`row '${String(row["name"])}' of table ${table} is damaged: ${reason}`);
}
