/**
 * Writes a state file of this version's schema, as a daemon that was killed leaves it: `node test/journal/record-fixture.ts FILE`.
 * With real QEMUs, which are killed too. What is the same for every version:
 * - `web`, persistent, two disks: a migration that was cut off while it copied
 * - `db`, persistent: the mirrored snapshot `s1`, its mirror ready
 * - `tmp`, transient, running
 * - `cut`, persistent: a block copy that was cut off at its start (not in version 1)
 * - `old`, persistent, shut off, with operations that ended, one of them failed
 * Directories are written as `/fixture`; the pids are those of processes that are gone.
 */
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { compose, stateFileName } from "../../src/daemon/compose.ts";
import { ServiceRig } from "../live/service-rig.ts";
import { silentLogger } from "../live/witness-rig.ts";

const target = resolve(process.argv[2] ?? "fixture.db");
const rig = new ServiceRig();
let holdAt = "";
let held = Promise.withResolvers<void>();
const { facade } = await compose(
  {
    stateDir: rig.path("state"),
    runtimeDir: rig.path("run"),
    async fault(point) {
      if (point !== holdAt) return;
      held.resolve();
      await new Promise(() => undefined);
    },
  },
  silentLogger,
);
const image = (name: string): string => rig.createImage(name, { pattern: 1 });
const start = async (name: string, disks: string[]): Promise<void> => {
  await facade.defineDomain(rig.domainXml(name, disks));
  await facade.startDomain(name);
};

await start("old", [image("old.qcow2")]);
await facade.createSnapshot("old", { name: "gone", diskspecs: [`vda,mirror=${rig.image("old.mirror")}`] });
await facade.endMirrors("old", "gone", "pivot");
const cancelled = await facade.migrateStorage("old", { to: rig.image("nowhere/"), bytesPerS: 1024 });
await facade.cancelOperation(cancelled.id);
await facade.destroyDomain("old");

await start("db", [image("db.qcow2")]);
await facade.createSnapshot("db", { name: "s1", diskspecs: [`vda,mirror=${rig.image("db.mirror")}`] });
await facade.createDomain(rig.domainXml("tmp", [image("tmp.qcow2")]));
await start("web", [image("web.qcow2"), image("web-data.qcow2")]);
await holdThere("after copy-layers", () => facade.migrateStorage("web", { to: rig.image("to/") }));
// Since version 2.
if ("blockCopy" in facade) {
  await start("cut", [image("cut.qcow2")]);
  const body = { dest: rig.image("cut.copy") };
  await holdThere("after start-copy", () => facade.blockCopy("cut", "vda", body));
}

// As if the power went: nothing is closed in order.
mkdirSync(rig.path("copy"));
for (const name of readdirSync(rig.path("state"))) {
  if (name.startsWith(stateFileName)) copyFileSync(rig.path("state", name), rig.path("copy", name));
}
for (const uuid of readdirSync(rig.path("run", "domains"))) {
  const pid = Number(readFileSync(rig.path("run", "domains", uuid, "qemu.pid"), "utf8"));
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // `old` was ended above.
  }
}
const db = new DatabaseSync(join(rig.path("copy"), stateFileName));
replaceText(db, rig.directory, "/fixture");
db.exec("PRAGMA journal_mode = DELETE; VACUUM");
db.close();
copyFileSync(join(rig.path("copy"), stateFileName), target);
rmSync(rig.directory, { recursive: true });
process.exit(0);

async function holdThere(point: string, begin: () => Promise<unknown>): Promise<void> {
  held = Promise.withResolvers<void>();
  holdAt = point;
  await begin();
  await held.promise;
}

function replaceText(database: DatabaseSync, from: string, to: string): void {
  for (const { name: table } of database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()) {
    if (String(table).startsWith("sqlite_")) continue;
    for (const { name, type } of database.prepare(`PRAGMA table_info(${String(table)})`).all()) {
      if (type !== "TEXT") continue;
      // A row that is not as it was written has no checksum.
      const value = name === "sum" ? "NULL" : `replace(${String(name)}, ?1, ?2)`;
      const statement = database.prepare(`UPDATE ${String(table)} SET ${String(name)} = ${value}`);
      if (name === "sum") statement.run();
      else statement.run(from, to);
    }
  }
}
