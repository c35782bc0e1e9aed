/** The schema's history. Entries are never edited: a state file of any earlier version is brought up by the ones that it lacks. */
import type { DatabaseSync } from "node:sqlite";

const migrations: readonly string[] = [
  `CREATE TABLE domain (
     uuid TEXT PRIMARY KEY,
     name TEXT NOT NULL UNIQUE,
     definition TEXT,          -- persistent: the XML that the next start uses; NULL: transient
     run TEXT                  -- JSON of the running QEMU; NULL: not running
   ) STRICT;
   CREATE TABLE snapshot (
     domain TEXT NOT NULL REFERENCES domain (uuid) ON DELETE CASCADE,
     name TEXT NOT NULL,
     is_current INTEGER NOT NULL,
     document TEXT NOT NULL,   -- JSON
     mirrors TEXT,             -- JSON of its mirror set; NULL: not mirrored
     PRIMARY KEY (domain, name)
   ) STRICT;
   CREATE TABLE operation (
     id TEXT PRIMARY KEY,
     domain TEXT NOT NULL,
     kind TEXT NOT NULL,
     state TEXT NOT NULL,      -- running, succeeded, failed, cancelled
     step TEXT NOT NULL,
     plan TEXT NOT NULL,       -- JSON: every name that it will use, decided before the first act
     decision TEXT,            -- the commit point of a two-phase step
     error TEXT,
     result TEXT,
     started_at TEXT NOT NULL,
     ended_at TEXT
   ) STRICT;
   CREATE INDEX operation_by_domain ON operation (domain, started_at);
   CREATE TABLE record (
     operation TEXT NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
     seq INTEGER NOT NULL,
     at TEXT NOT NULL,
     kind TEXT NOT NULL,
     data TEXT NOT NULL,
     PRIMARY KEY (operation, seq)
   ) STRICT;
   CREATE TABLE event (
     seq INTEGER PRIMARY KEY AUTOINCREMENT,
     at TEXT NOT NULL,
     domain TEXT NOT NULL,
     type TEXT NOT NULL,
     detail TEXT NOT NULL
   ) STRICT;`,
  `ALTER TABLE snapshot ADD COLUMN config TEXT;      -- JSON of the domain as it was; NULL: not known
   ALTER TABLE snapshot ADD COLUMN deleting INTEGER NOT NULL DEFAULT 0;
   CREATE TABLE layer (
     domain TEXT NOT NULL REFERENCES domain (uuid) ON DELETE CASCADE,
     disk TEXT NOT NULL,
     path TEXT NOT NULL,
     image TEXT NOT NULL,      -- JSON
     reason TEXT NOT NULL,     -- why it is there although no snapshot names it
     PRIMARY KEY (domain, path)
   ) STRICT;`,
  `ALTER TABLE domain ADD COLUMN sum TEXT;           -- checksum of the row (row-sums.ts); NULL: to be made at the next start
   ALTER TABLE snapshot ADD COLUMN sum TEXT;
   ALTER TABLE layer ADD COLUMN sum TEXT;
   ALTER TABLE operation ADD COLUMN sum TEXT;
   ALTER TABLE record ADD COLUMN sum TEXT;
   CREATE TABLE departed (     -- transient domains whose QEMU has ended, as they were then
     uuid TEXT PRIMARY KEY,
     name TEXT NOT NULL,
     at TEXT NOT NULL,
     run TEXT NOT NULL,        -- JSON, as in domain
     mirrors TEXT,             -- JSON, of the mirrored snapshot that it had
     sum TEXT
   ) STRICT;`,
];

/** The version that this program writes. */
export const schemaVersion = migrations.length;

/** Brings the schema up to {@link schemaVersion}. Call it in a transaction: a file that turns out to be damaged is left as it is. */
export function migrateSchema(db: DatabaseSync): void {
  const found = readSchemaVersion(db);
  if (found > schemaVersion)
    throw new Error(`it has schema version ${found}, this qmirror knows up to ${schemaVersion}`);
  // Writes nothing where nothing is missing: a full disk must not keep a daemon from starting.
  if (found === schemaVersion) return;
  for (const migration of migrations.slice(found)) db.exec(migration);
  db.exec(`PRAGMA user_version = ${schemaVersion}`);
}

/** 0: nobody has written a schema. */
export function readSchemaVersion(db: DatabaseSync): number {
  return Number(db.prepare("PRAGMA user_version").get()?.["user_version"] ?? 0);
}
