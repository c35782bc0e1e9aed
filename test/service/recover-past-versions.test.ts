/** State files that earlier versions wrote, as killed daemons left them (test/journal/record-fixture.ts). They are kept for ever. */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { compose, stateFileName } from "../../src/daemon/compose.ts";
import { schemaVersion } from "../../src/journal/migrations.ts";
import { openStore } from "../../src/journal/store.ts";
import { silentLogger } from "../live/witness-rig.ts";

const pastVersions = Array.from({ length: schemaVersion - 1 }, (_, index) => index + 1);

function fixtureOf(version: number): string {
  return fileURLToPath(new URL(`../fixtures/journal/v${version}.db`, import.meta.url));
}

/** A state directory with the version's file, whose images are in a directory of this run. */
function makeStateDir(
  t: TestContext,
  version: number,
): { stateDir: string; runtimeDir: string; at: (name: string) => string } {
  const directory = mkdtempSync(join(tmpdir(), "qmirror-past-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const [stateDir, runtimeDir] = [join(directory, "state"), join(directory, "run")];
  for (const path of [stateDir, runtimeDir]) mkdirSync(path);
  const path = join(stateDir, stateFileName);
  copyFileSync(fixtureOf(version), path);
  const db = new DatabaseSync(path);
  for (const column of [
    "domain.definition",
    "domain.run",
    "snapshot.document",
    "snapshot.mirrors",
    "operation.plan",
    "record.data",
  ]) {
    const [table, name] = column.split(".");
    db.prepare(`UPDATE ${table} SET ${name} = replace(${name}, '/fixture', ?)`).run(directory);
  }
  db.close();
  return { stateDir, runtimeDir, at: (name) => join(directory, "images", name) };
}

for (const version of pastVersions) {
  test(`version ${version}: it opens, and what ran is recovered`, async (t) => {
    const { at, ...dirs } = makeStateDir(t, version);
    const path = join(dirs.stateDir, stateFileName);
    const before = new DatabaseSync(path, { readOnly: true });
    assert.equal(
      before.prepare("PRAGMA user_version").get()?.["user_version"],
      version,
      "the fixture is of that version",
    );
    const ended = before.prepare("SELECT count(*) AS n FROM operation WHERE state <> 'running'").get()?.["n"];
    before.close();
    const store = openStore(path);
    const [migration, ...others] = store.operations.list({ running: true }).toReversed();
    assert.ok(migration !== undefined);
    const { id } = migration;
    assert.equal(store.events.after(0, 1000).length > 10, true);
    store.close();
    const overlays = ["web", "web-data"].map((name) => at(`${name}.qcow2.migrate-${id}`));
    const mirrors = ["web", "web-data"].map((name) => at(`to/${name}.qcow2.migrate-${id}`));
    const copies = ["web", "web-data"].map((name) => at(`to/${name}.qcow2`));
    for (const file of [...overlays, ...mirrors, ...copies, at("cut.copy"), at("db.mirror")]) {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, "data");
    }

    const service = await compose(dirs, silentLogger);
    t.after(() => service.close());
    const { facade } = service;
    const final = await facade.getOperation(id);
    assert.deepEqual([final.state, final.error?.code], ["failed", "QM_QEMU_GONE"]);
    assert.deepEqual(final.result?.["truth"], { vda: overlays[0], vdb: overlays[1] });
    for (const file of overlays) assert.ok(existsSync(file), basename(file));
    for (const file of [...mirrors, ...copies]) assert.equal(existsSync(file), false, `${file} is of no use`);
    for (const { id: other } of others) {
      assert.deepEqual((await facade.getOperation(other)).error?.code, "QM_INTERRUPTED");
      assert.equal(existsSync(at("cut.copy")), false);
    }
    assert.equal(others.length, version === 1 ? 0 : 1);
    assert.equal((await facade.listOperations({ running: false })).length, Number(ended) + others.length + 1);
    const [disk] = (await facade.getSnapshot("db", "s1")).disks;
    assert.equal(disk?.mirror?.state, "lost");
    const { departed } = await facade.showRecovery("tmp");
    assert.deepEqual(
      departed.map(({ name, disks }) => [name, disks]),
      [["tmp", [{ target: "vda", path: at("tmp.qcow2") }]]],
    );
    assert.deepEqual((await facade.showRecovery()).operations, []);
  });
}

test("every past version has its fixture", () => {
  assert.ok(pastVersions.length >= 2);
  for (const version of pastVersions) assert.ok(existsSync(fixtureOf(version)), `test/fixtures/journal/v${version}.db`);
});
