import assert from "node:assert/strict";
import { mkdtemp, open, rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { schemaVersion } from "../../src/journal/migrations.ts";
import { openStore } from "../../src/journal/store.ts";

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "qmirror-store-"));
});
after(() => rm(directory, { recursive: true }));

const plan = { steps: ["create-files"], disks: [{ target: "vda" }] };

test("what was written is there after the store is opened again", () => {
  const path = join(directory, "again.db");
  const first = openStore(path);
  first.domains.put({ uuid: "u1", name: "web", definition: "<domain/>", run: { id: 3 } });
  first.snapshots.put({
    domain: "u1",
    name: "s1",
    current: true,
    deleting: false,
    document: { a: 1 },
    mirrors: { b: 2 },
  });
  first.snapshots.put({ domain: "u1", name: "s2", current: true, deleting: false, document: {} });
  first.operations.begin({ id: "op1", domain: "u1", kind: "pivot", step: "prepare-pivot", plan });
  first.operations.decide("op1", "pivot");
  first.operations.record("op1", "fact", "pivot");
  first.close();

  const second = openStore(path);
  assert.deepEqual(second.domains.list(), [{ uuid: "u1", name: "web", definition: "<domain/>", run: { id: 3 } }]);
  assert.deepEqual(second.snapshots.list("u1"), [
    { domain: "u1", name: "s1", current: false, deleting: false, document: { a: 1 }, mirrors: { b: 2 } },
    { domain: "u1", name: "s2", current: true, deleting: false, document: {} },
  ]);
  const [operation] = second.operations.list({ running: true });
  assert.deepEqual([operation?.step, operation?.decision, operation?.plan], ["prepare-pivot", "pivot", plan]);
  assert.deepEqual(
    second.operations.records("op1").map(({ seq, kind, data }) => [seq, kind, data]),
    [[1, "fact", "pivot"]],
  );
  second.operations.end("op1", "succeeded", { result: { truth: {} } });
  assert.deepEqual(second.operations.list({ running: true }), []);
  second.domains.remove("u1");
  assert.deepEqual(second.snapshots.list("u1"), [], "snapshots go with their domain");
  second.close();
});

test("a group of writes that fails leaves none of them", () => {
  const store = openStore(join(directory, "atomic.db"));
  assert.throws(
    () =>
      store.atomically(() => {
        store.domains.put({ uuid: "u1", name: "web" });
        store.atomically(() => store.domains.put({ uuid: "u2", name: "web" }));
      }),
    /UNIQUE/,
  );
  assert.deepEqual(store.domains.list(), []);
  store.domains.put({ uuid: "u1", name: "web" });
  assert.equal(store.domains.list().length, 1, "the store goes on");
  store.close();
});

test("events are numbered for ever and pruned from the oldest", () => {
  const store = openStore(join(directory, "events.db"));
  for (let number = 0; number < 5; number++)
    store.events.append({ domain: "web", type: "lifecycle", detail: { number } });
  store.events.prune(2);
  assert.deepEqual(
    store.events.after(0, 10).map((event) => event.seq),
    [4, 5],
  );
  assert.equal(store.events.append({ domain: "web", type: "lifecycle", detail: {} }).seq, 6);
  store.close();
});

test("a damaged state file is told, and left as it is", async () => {
  const path = join(directory, "damaged.db");
  const store = openStore(path);
  for (let number = 0; number < 200; number++)
    store.events.append({ domain: "web", type: "lifecycle", detail: { pad: "x".repeat(100) } });
  store.close();
  const file = await open(path, "r+");
  await file.write(Buffer.alloc(4096, 0xff), 0, 4096, 8192);
  await file.close();
  assert.throws(
    () => openStore(path),
    (error: unknown) => isQmError(error, "QM_JOURNAL") && error.message.includes(path),
  );
});

test("a state file of a newer qmirror is refused", () => {
  const path = join(directory, "newer.db");
  openStore(path).close();
  const db = new DatabaseSync(path);
  db.exec(`PRAGMA user_version = ${schemaVersion + 1}`);
  db.close();
  assert.throws(() => openStore(path), /schema version/);
});
