/** Opening the state file: made whole or not at all, checked before anything is written to it. */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { migrateSchema, readSchemaVersion } from "./migrations.ts";
import { checkRows, keepRowSums } from "./row-sums.ts";

/** Throws what SQLite says, or an `Error` in our words; the file is then as it was. */
export function openDatabase(path: string): DatabaseSync {
  if (existsSync(path)) checkPages(path);
  else createFile(path);
  const db = new DatabaseSync(path, { timeout: 5000 });
  try {
    db.exec(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;",
    );
    db.exec("BEGIN IMMEDIATE");
    migrateSchema(db);
    checkRows(db);
    db.exec("COMMIT");
    keepRowSums(db);
    return db;
  } catch (error) {
    // Closing rolls back.
    db.close();
    throw error;
  }
}

/** Read-only: closing a connection that may write would move what is in the write-ahead log. */
function checkPages(path: string): void {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  try {
    const [check] = db.prepare("PRAGMA integrity_check(1)").all();
    if (check?.["integrity_check"] !== "ok") throw new Error(String(check?.["integrity_check"]));
    // It is given its name only when it has a schema: an empty one has lost what it held.
    if (readSchemaVersion(db) === 0) throw new Error("it is empty: what it held is gone");
  } finally {
    db.close();
  }
}

function createFile(path: string): void {
  if (existsSync(`${path}-wal`)) throw new Error("it is missing, but its write-ahead log is there");
  const draft = `${path}.new`;
  rmSync(draft, { force: true });
  // Names and paths of people's disks: for the owner alone, whatever the directory's mode. SQLite's other files take it over.
  closeSync(openSync(draft, "wx", 0o600));
  const db = new DatabaseSync(draft);
  try {
    db.exec("BEGIN IMMEDIATE");
    migrateSchema(db);
    db.exec("COMMIT");
  } finally {
    db.close();
  }
  renameSync(draft, path);
  const directory = openSync(dirname(path), "r");
  fsyncSync(directory);
  closeSync(directory);
}
