/** What a state file may suffer. Each damage is told at the start, and nothing is written to the file by telling it. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { openStore } from "../../src/journal/store.ts";

const pad = "x".repeat(200);

/** A state file with rows in every table, closed in order. */
function makeFile(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "qmirror-damaged-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "state.db");
  const store = openStore(path);
  for (let number = 0; number < 20; number++) {
    const domain = `u${number}`;
    store.domains.put({ uuid: domain, name: `d${number}`, definition: "<domain/>", run: { id: 1, identity: 7 } });
    store.snapshots.put({ domain, name: "s", current: true, deleting: false, document: { pad }, mirrors: { pad } });
    store.snapshots.putConfig(domain, "s", { pad });
    store.layers.put({ domain, disk: "vda", path: `/i/${number}`, image: { pad }, reason: "kept" });
    store.operations.begin({ id: `op${number}`, domain, kind: "pivot", step: "a", plan: { path: "/images/one", pad } });
    store.operations.enterStep(`op${number}`, "b");
    store.operations.record(`op${number}`, "fact", "pivot");
    store.operations.decide(`op${number}`, "pivot");
    store.events.append({ domain, type: "lifecycle", detail: { number } });
  }
  store.domains.put({ uuid: "t", name: "transient", run: { id: 2, identity: 7 } });
  store.domains.remove("t");
  store.operations.end("op0", "failed", { error: { code: "QM_IO" }, result: {} });
  store.close();
  return path;
}

/** The reason, without the path. */
function refusal(path: string): string {
  const before = readFileSync(path);
  try {
    openStore(path).close();
  } catch (error) {
    assert.ok(isQmError(error, "QM_JOURNAL"), String(error));
    assert.ok(error.message.includes(path));
    assert.ok(readFileSync(path).equals(before), "the file is as it was");
    return String(error.fields["reason"]);
  }
  return assert.fail("it was opened");
}

/** Changes rows behind qmirror's back, as another tool would. */
function edit(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}

test("a state file that was closed in order, or whose daemon was killed, opens", (t) => {
  const path = makeFile(t);
  const store = openStore(path);
  store.operations.decide("op1", "merged");
  const killed = `${path}.killed`;
  for (const end of ["", "-wal"]) copyFileSync(path + end, killed + end);
  store.close();
  const again = openStore(killed);
  assert.equal(again.operations.get("op1")?.decision, "merged");
  again.close();
});

test("each of many flipped bytes is either told or of no consequence", (t) => {
  const path = makeFile(t);
  const whole = readFileSync(path);
  const expected = readAll(path);
  let told = 0;
  // A prime step visits every kind of place: page headers, keys, texts, free space.
  for (let offset = 101; offset < whole.length; offset += 211) {
    const damaged = Buffer.from(whole);
    damaged[offset] = (damaged[offset] ?? 0) ^ 0x04;
    const copy = `${path}.flipped`;
    writeFileSync(copy, damaged);
    for (const end of ["-wal", "-shm"]) rmSync(copy + end, { force: true });
    let seen: unknown;
    try {
      seen = readAll(copy);
    } catch (error) {
      assert.ok(isQmError(error, "QM_JOURNAL"), `${offset}: ${String(error)}`);
      told += 1;
      continue;
    }
    assert.deepEqual(seen, expected, `byte ${offset} was flipped, and nobody noticed`);
  }
  assert.ok(told > 50, `${told} were told`);
});

/** All that decides anything; events do not. */
function readAll(path: string): unknown {
  const store = openStore(path);
  try {
    const domains = store.domains.list();
    return {
      domains,
      departed: store.domains.departed(),
      operations: store.operations.list({}).map((row) => [row, store.operations.records(row.id)]),
      snapshots: domains.map(({ uuid }) => [store.snapshots.list(uuid), store.snapshots.config(uuid, "s")]),
      layers: domains.map(({ uuid }) => store.layers.list(uuid)),
    };
  } finally {
    store.close();
  }
}

test("a truncated file is told, wherever it ends", (t) => {
  for (const part of [0.9, 0.5, 0.1]) {
    const path = makeFile(t);
    truncateSync(path, Math.floor(readFileSync(path).length * part));
    assert.match(refusal(path), /malformed|not a database|Tree|page|empty/i);
  }
  const path = makeFile(t);
  truncateSync(path, 0);
  assert.match(refusal(path), /empty/);
});

test("another file in its place is told, and so is a missing one whose write-ahead log is there", (t) => {
  const path = makeFile(t);
  writeFileSync(path, "a text\n".repeat(1000));
  assert.match(refusal(path), /not a database/);
  rmSync(path);
  writeFileSync(`${path}-wal`, "left over");
  assert.throws(() => openStore(path), { code: "QM_JOURNAL", message: /write-ahead log/ });
});

test("a row that was changed by another tool is told, until its checksum is taken away", (t) => {
  const path = makeFile(t);
  edit(path, `UPDATE operation SET plan = replace(plan, '/images/one', '/images/two') WHERE id = 'op3'`);
  assert.match(refusal(path), /row 'op3' of table operation .* checksum/);
  edit(path, "UPDATE operation SET sum = NULL WHERE id = 'op3'");
  const store = openStore(path);
  assert.deepEqual(store.operations.get("op3")?.plan, { path: "/images/two", pad });
  store.close();
  edit(path, "UPDATE operation SET plan = replace(plan, '/images/two', '/images/one') WHERE id = 'op3'");
  assert.match(refusal(path), /op3/);
});

for (const [what, sql, words] of [
  [
    "a plan that is not JSON",
    "UPDATE operation SET plan = '{', sum = NULL WHERE id = 'op4'",
    /row 'op4' .* plan is not JSON/,
  ],
  [
    "a run that is not JSON",
    "UPDATE domain SET run = 'x', sum = NULL WHERE uuid = 'u4'",
    /row 'd4' .* run is not JSON/,
  ],
  ["an event that is not JSON", "UPDATE event SET detail = '' WHERE seq = 3", /row '3' of table event/],
  [
    "an unknown state",
    "UPDATE operation SET state = 'rnning', sum = NULL WHERE id = 'op5'",
    /row 'op5' .* state is unknown/,
  ],
  [
    "a snapshot of no domain",
    "PRAGMA foreign_keys = OFF; DELETE FROM domain WHERE uuid = 'u6'",
    /belongs to no domain/,
  ],
] as const) {
  test(`${what} is told`, (t) => {
    const path = makeFile(t);
    edit(path, sql);
    assert.match(refusal(path), words);
  });
}
