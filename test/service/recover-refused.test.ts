/** A state file that says what this qmirror does not understand: everything but `doctor` is refused, and nothing is touched. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { compose, stateFileName } from "../../src/daemon/compose.ts";
import { openStore, type Store } from "../../src/journal/store.ts";
import { planOffline } from "../../src/engine/plans/plan-tasks.ts";
import type { StoredRun } from "../../src/service/domain-entry.ts";
import { silentLogger } from "../live/witness-rig.ts";

const uuid = "11111111-2222-3333-4444-555555555555";
const xml = `<domain type='qemu'><name>web</name><uuid>${uuid}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os><devices/></domain>`;
const plan = planOffline(
  {
    id: "0123456789ab",
    domain: { uuid, name: "web" },
    document: { name: "s", creationTime: 0, state: "shutoff", domainUuid: uuid, domainName: "web", disks: [] },
    config: { domain: { name: "web", uuid, disks: [] } as never },
    forgotten: false,
  },
  [],
);

function makeDirs(t: TestContext, write: (store: Store) => void): { stateDir: string; runtimeDir: string } {
  const directory = mkdtempSync(join(tmpdir(), "qmirror-refused-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const dirs = { stateDir: join(directory, "state"), runtimeDir: join(directory, "run") };
  for (const path of Object.values(dirs)) mkdirSync(path);
  const store = openStore(join(dirs.stateDir, stateFileName));
  store.domains.put({ uuid, name: "web", definition: xml });
  write(store);
  store.close();
  return dirs;
}

function begin(store: Store, change: { kind?: string; step?: string; plan?: object }): void {
  const { kind = "snapshot-create", step = "0 establish" } = change;
  store.operations.begin({ id: plan.id, domain: uuid, kind, step, plan: { ...plan, ...change.plan } });
}

for (const [what, write, words] of [
  ["an unknown kind", (store) => begin(store, { kind: "teleport" }), /operation 0123456789ab: its kind 'teleport'/],
  [
    "an unknown task",
    (store) => begin(store, { plan: { tasks: [{ task: "teleport" }] } }),
    /task 'teleport' is unknown/,
  ],
  ["a task behind the last", (store) => begin(store, { step: "7 establish" }), /at '7 establish', which is no task/],
  ["a task that is none", (store) => begin(store, { step: "establish" }), /at 'establish'/],
  ["no task that decides", (store) => begin(store, { plan: { decidedAt: 5 } }), /no task that decides/],
  [
    "an unknown step of its plan",
    (store) => begin(store, { plan: storagePlan("teleport") }),
    /step 'teleport' is unknown/,
  ],
  ["an unknown step", (store) => begin(store, { step: "teleport", plan: storagePlan() }), /unknown step 'teleport'/],
  [
    "a step of other plans",
    (store) => begin(store, { step: "freeze", plan: storagePlan() }),
    /at 'freeze', which is no step/,
  ],
  [
    "an unknown decision",
    (store) => {
      begin(store, { step: "take-snapshot", plan: storagePlan() });
      store.operations.decide(plan.id, "pivoted");
    },
    /pivoted/,
  ],
  ["another one's plan", (store) => begin(store, { plan: { id: "ba9876543210" } }), /another operation's/],
  [
    "a definition that is none",
    (store) => store.domains.put({ uuid, name: "web", definition: "<domain type='xen'/>" }),
    /domain 'web'/,
  ],
  [
    "a run that is none",
    (store) => store.domains.put({ uuid, name: "web", run: { id: "x" } }),
    /domain 'web': its run/,
  ],
] satisfies [string, (store: Store) => void, RegExp][]) {
  test(`${what}: every use case is refused`, async (t) => {
    const dirs = makeDirs(t, write);
    const said: object[] = [];
    const service = await compose(dirs, { ...silentLogger, error: (fields) => void said.push(fields) });
    t.after(() => service.close());
    const { facade } = service;
    assert.match(JSON.stringify(said), /reason/);
    const refused = { code: "QM_JOURNAL", message: words };
    await assert.rejects(facade.listDomains(), refused);
    await assert.rejects(facade.destroyDomain("web"), refused);
    await assert.rejects(facade.applyRecovery(), refused);
    await assert.rejects(Array.fromAsync(facade.watchEvents({}, AbortSignal.timeout(1000))), refused);
    const store = openStore(join(dirs.stateDir, stateFileName));
    assert.deepEqual(
      store.operations.list({}).map(({ state }) => state),
      what.startsWith("a definition") || what.startsWith("a run") ? [] : ["running"],
    );
    store.close();
  });
}

test("doctor works without a readable state file, and says why it is not", async (t) => {
  const dirs = makeDirs(t, (store) => begin(store, { kind: "teleport" }));
  writeFileSync(
    join(dirs.stateDir, stateFileName),
    "not a database, but long enough to be taken for one\n".repeat(100),
  );
  const service = await compose(dirs, silentLogger);
  t.after(() => service.close());
  const { facade } = service;
  await assert.rejects(facade.listDomains(), { code: "QM_JOURNAL", message: /not a database/ });
  const checks = await facade.doctor();
  const check = checks.find(({ name }) => name === "state file");
  assert.deepEqual([check?.verdict, checks.length], ["failed", 9]);
  assert.match(check?.detail ?? "", /not a database/);
  assert.match(check?.next ?? "", /when-things-go-wrong/);
});

function storagePlan(step = "create-files"): object {
  return { tasks: undefined, dialect: "blockdev", steps: [step, "take-snapshot"], disks: [], files: [], copies: [] };
}

test("an operation whose domain is gone, and only its end was not recorded, is ended when the daemon starts", async (t) => {
  const dirs = makeDirs(t, (store) => {
    begin(store, {});
    store.domains.remove(uuid);
  });
  const service = await compose(dirs, silentLogger);
  t.after(() => service.close());
  const { facade } = service;
  const view = await facade.getOperation(plan.id);
  assert.deepEqual([view.state, view.error?.code], ["failed", "QM_INTERRUPTED"]);
});

test("a process that has a QEMU's pid now is not taken for it, and lives on", async (t) => {
  const stranger = spawn("sleep", ["60"]);
  t.after(() => stranger.kill("SIGKILL"));
  await once(stranger, "spawn");
  const pid = stranger.pid ?? 0;
  const definition = {
    name: "web",
    uuid,
    disks: [],
    serials: [],
    interfaces: [],
  } as unknown as StoredRun["definition"];
  const identity = { pid, startTimeTicks: "1", qmpSocket: "/nowhere", uuid };
  const dirs = makeDirs(t, (store) => {
    store.domains.put<StoredRun>({
      uuid,
      name: "web",
      definition: xml,
      run: { id: 1, adopted: false, identity, definition },
    });
    const other = uuid.replace("1", "2");
    store.domains.put<StoredRun>({
      uuid: other,
      name: "starting",
      definition: xml.replaceAll(uuid, other).replace("web", "starting"),
      run: { id: 2, adopted: false, definition },
    });
  });
  // The one that was being started wrote this pid before it died.
  for (const one of [uuid, uuid.replace("1", "2")]) {
    mkdirSync(join(dirs.runtimeDir, "domains", one), { recursive: true });
    writeFileSync(join(dirs.runtimeDir, "domains", one, "qemu.pid"), `${pid}\n`);
  }
  const service = await compose(dirs, silentLogger);
  t.after(() => service.close());
  const { facade } = service;
  assert.deepEqual(
    (await facade.listDomains()).map(({ name, state }) => [name, state]),
    [
      ["starting", "shut off"],
      ["web", "shut off"],
    ],
  );
  process.kill(pid, 0);
  assert.equal(stranger.exitCode, null);
});
