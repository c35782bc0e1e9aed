/** `recover` on real QEMUs, and a journal that cannot be written in each phase of an operation. */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { after, afterEach, before, beforeEach, describe, mock, test } from "node:test";
import { pino } from "pino";
import { compose } from "../../src/daemon/compose.ts";
import type { Composition } from "../../src/daemon/composition.ts";
import { runDaemon } from "../../src/daemon/run-daemon.ts";
import type { OperationView } from "../../src/api-types/index.ts";
import { createIo, runCli } from "../cli/run-cli.ts";
import { makeFullDisk, type FullDisk } from "./full-disk.ts";
import { assertHolds, assertRefused, ServiceRig, writeThroughDevice } from "./service-rig.ts";
import { silentLogger } from "./witness-rig.ts";

/** Holds the engine at a named point. */
class Gate {
  #point = "";
  #reached = Promise.withResolvers<void>();
  #opened = Promise.withResolvers<void>();
  act: (() => void) | undefined;

  at(point: string, act?: () => void): Promise<void> {
    [this.#point, this.act] = [point, act];
    [this.#reached, this.#opened] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    return this.#reached.promise;
  }

  open(): void {
    this.#point = "";
    this.#opened.resolve();
  }

  readonly fault = async (point: string): Promise<void> => {
    if (point !== this.#point) return;
    this.#reached.resolve();
    if (this.act !== undefined) return this.act();
    await this.#opened.promise;
  };
}

const last = async ({ facade }: Composition): Promise<OperationView> => {
  const [newest] = await facade.listOperations({});
  assert.ok(newest);
  return await facade.waitOperation(newest.id, AbortSignal.timeout(20_000));
};

describe("recover", () => {
  const rig = new ServiceRig();
  const gate = new Gate();
  const dirs = { stateDir: rig.path("state"), runtimeDir: rig.path("run") };
  let service: Composition;
  before(async () => {
    service = await compose({ ...dirs, fault: gate.fault }, silentLogger);
  });
  after(async () => {
    for (const { name, state } of await service.facade.listDomains()) {
      if (state !== "shut off") await service.facade.destroyDomain(name);
    }
    await service.close();
    await rig.close();
  });
  const reopen = async (): Promise<void> => {
    service = await compose({ ...dirs, fault: gate.fault }, silentLogger);
  };

  test("an operation under way is shown with QEMU's own view, and is left to qmirrord", async () => {
    const disk = rig.createImage("a.qcow2", { pattern: 1 });
    await service.facade.defineDomain(rig.domainXml("a", [disk]));
    await service.facade.startDomain("a");
    const held = gate.at("after copy-layers");
    await service.facade.migrateStorage("a", { to: rig.image("a/") });
    await held;
    const { operations } = await service.facade.applyRecovery("a");
    const [shown] = operations;
    assert.ok(shown !== undefined && operations.length === 1);
    const overlay = rig.image(`a.qcow2.migrate-${shown.operation}`);
    assert.deepEqual([shown.kind, shown.domain, shown.journal.step], ["migrate-storage", "a", "copy-layers"]);
    assert.deepEqual([shown.journal.decision, shown.journal.undoing], ["mirrored", false]);
    assert.deepEqual(shown.qemu.disks, [{ target: "vda", active: overlay }]);
    assert.deepEqual(
      shown.qemu.jobs.map(({ status }) => status),
      ["ready"],
    );
    assert.deepEqual(shown.truth, [{ target: "vda", path: overlay }]);
    assert.equal(shown.action.kind, "wait");
    assert.match(shown.action.text, /go on with copy-layers; the operation succeeds/);
  });

  test("a QEMU that is stopped is told with what to do; let go on, the operation does what was said", async () => {
    // The daemon ends where the test before has left it.
    await service.close();
    const [uuid] = readdirSync(rig.path("run", "domains"));
    assert.ok(uuid !== undefined);
    const pid = rig.pidOf(uuid);
    process.kill(pid, "SIGSTOP");
    try {
      gate.open();
      await reopen();
      const [shown] = (await service.facade.showRecovery()).operations;
      assert.deepEqual([shown?.qemu.process, shown?.qemu.monitor, shown?.qemu.pid], ["stopped", "silent", pid]);
      assert.equal(shown?.action.kind, "wait");
      assert.match(
        shown.action.text,
        new RegExp(`kill -CONT ${pid}.*the domain stays on its overlays; the operation fails`),
      );
    } finally {
      process.kill(pid, "SIGCONT");
    }
    const events = service.facade.watchEvents({ domain: "a", since: 0 }, AbortSignal.timeout(20_000));
    for await (const { type, detail } of events) if (type === "operation" && detail["state"] !== "running") break;
    assert.equal((await last(service)).state, "succeeded");
    assert.deepEqual(await service.facade.showRecovery("a"), {
      operations: [],
      findings: [],
      departed: [],
      applied: [],
    });
  });

  for (const [point, side] of [
    ["after copy-layers", "source"],
    ["after decide-pivot", "target"],
  ] as const) {
    test(`a transient domain whose QEMU died ${point} is printed with the ${side}'s images, and runs from them`, async () => {
      const name = `t-${side}`;
      const disk = rig.createImage(`${name}.qcow2`);
      const { uuid } = await service.facade.createDomain(rig.domainXml(name, [disk]));
      const eye = await rig.watch(name);
      await writeThroughDevice(eye, "vda", 7, 0);
      const held = gate.at(point);
      const { id } = await service.facade.migrateStorage(name, { to: rig.image(`${name}/`) });
      await held;
      const pid = rig.pidOf(uuid);
      await service.close();
      process.kill(pid, "SIGKILL");
      await eye.closed;
      gate.open();
      await reopen();
      await assertRefused(service.facade.getDomain(name), "QM_NO_DOMAIN", [name]);
      const path =
        side === "source" ? rig.image(`${name}.qcow2.migrate-${id}`) : rig.image(`${name}/${name}.qcow2.migrate-${id}`);
      const [departed, ...others] = (await service.facade.showRecovery(name)).departed;
      assert.ok(departed !== undefined && others.length === 0);
      assert.deepEqual(departed.disks, [{ target: "vda", path }]);
      assert.deepEqual([departed.name, departed.uuid], [name, uuid]);
      assertHolds(path, 7, 0);
      assert.equal((await service.facade.createDomain(departed.xml)).uuid, uuid);
      assert.equal((await rigChains(service, name))[0], path);
      await assertRefused(service.facade.showRecovery("nobody"), "QM_NO_DOMAIN", ["nobody"]);
      assert.deepEqual((await service.facade.showRecovery(name)).departed, [], "it is back");
    });
  }

  test("a mirrored snapshot of a transient domain whose QEMU died leaves its mirror, which is told from the truth", async () => {
    const { uuid } = await service.facade.createDomain(rig.domainXml("m", [rig.createImage("m.qcow2")]));
    await service.facade.createSnapshot("m", { name: "s", diskspecs: [`vda,mirror=${rig.image("m.mirror")}`] });
    const pid = rig.pidOf(uuid);
    await service.close();
    process.kill(pid, "SIGKILL");
    await reopen();
    const [departed] = (await service.facade.showRecovery("m")).departed;
    assert.deepEqual(departed?.disks, [{ target: "vda", path: rig.image("m.s") }]);
    assert.deepEqual(departed.mirrors, [rig.image("m.mirror")]);
  });

  test("a mirror that is lost is told with what to do", async () => {
    await service.facade.defineDomain(rig.domainXml("f", [rig.createImage("f.qcow2")]));
    const { uuid } = await service.facade.startDomain("f");
    await service.facade.createSnapshot("f", { name: "s", diskspecs: [`vda,mirror=${rig.image("f.mirror")}`] });
    const pid = rig.pidOf(uuid);
    await service.close();
    process.kill(pid, "SIGKILL");
    await reopen();
    const [finding, ...others] = (await service.facade.showRecovery("f")).findings;
    assert.equal(others.length, 0);
    assert.deepEqual([finding?.what, finding?.domain, finding?.paths], ["mirrors", "f", [rig.image("f.mirror")]]);
    assert.match(finding?.next ?? "", /snapshot-delete f s --mirror-abort/);
    await service.facade.endMirrors("f", "s", "abort");
    assert.deepEqual((await service.facade.showRecovery("f")).findings, []);
  });

  test("a clock that jumps back: order is the journal's, and a generated name that is taken is refused with nothing changed", async () => {
    await service.facade.defineDomain(rig.domainXml("c", [rig.createImage("c.qcow2")]));
    await service.facade.startDomain("c");
    const now = Date.now();
    mock.timers.enable({ apis: ["Date"], now });
    try {
      const first = await service.facade.createSnapshot("c", { diskOnly: true });
      assert.equal(first.snapshot?.name, String(Math.floor(now / 1000)));
      const files = rig.files();
      await assertRefused(service.facade.createSnapshot("c", { diskOnly: true }), "QM_SNAPSHOT_EXISTS", [
        first.snapshot.name,
      ]);
      assert.deepEqual(rig.files(), files);
      mock.timers.setTime(now - 3_600_000);
      const second = await service.facade.createSnapshot("c", { diskOnly: true });
      const names = (await service.facade.listSnapshots("c", { topological: true })).map(({ name }) => name);
      assert.deepEqual(names, [first.snapshot.name, second.snapshot?.name], "the older name is the younger snapshot");
      assert.equal((await service.facade.currentSnapshot("c")).name, second.snapshot?.name);
      const [newest, before] = await service.facade.listOperations({ domain: "c" });
      assert.ok(newest !== undefined && before !== undefined && newest.startedAt < before.startedAt);
      assert.equal(newest.id, second.operation?.id);
    } finally {
      mock.timers.reset();
    }
    const seen: number[] = [];
    for await (const { seq } of service.facade.watchEvents({ since: 0 }, AbortSignal.timeout(300))) seen.push(seq);
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    );
  });
});

async function rigChains({ facade }: Composition, name: string): Promise<(string | undefined)[]> {
  return (await facade.domainDisks(name)).map(({ chain }) => chain[0]?.path);
}

describe("the journal's disk is full", () => {
  let disk: FullDisk;
  let rig: ServiceRig;
  let service: Composition;
  const gate = new Gate();
  beforeEach(async () => {
    disk = makeFullDisk();
    rig = new ServiceRig();
    service = await compose({ stateDir: disk.directory, runtimeDir: rig.path("run"), fault: gate.fault }, silentLogger);
    await service.facade.defineDomain(rig.domainXml("d", [rig.createImage("d.qcow2", { pattern: 3 })]));
    await service.facade.startDomain("d");
  });
  afterEach(async () => {
    gate.open();
    disk.free();
    await service.facade.destroyDomain("d");
    await service.close();
    disk.close();
    await rig.close();
  });

  test("before the beginning: it is refused and nothing has changed", async () => {
    rig.image("to/");
    const files = rig.files();
    await service.facade.defineDomain(rig.domainXml("e", [rig.createImage("../e.qcow2")]));
    disk.fill();
    for (const request of [
      () => service.facade.startDomain("e"),
      () => service.facade.createDomain(rig.domainXml("g", [rig.image("../e.qcow2")])),
      () => service.facade.migrateStorage("d", { to: rig.image("to/") }),
      () => service.facade.createSnapshot("d", { name: "s", diskspecs: [`vda,mirror=${rig.image("m")}`] }),
    ]) {
      await assertRefused(request(), "QM_JOURNAL", [disk.directory]);
    }
    disk.free();
    assert.deepEqual(rig.files(), files);
    assert.deepEqual(await service.facade.listOperations({}), []);
    assert.deepEqual(
      (await service.facade.listDomains()).map(({ name }) => name),
      ["d", "e"],
    );
    await service.facade.startDomain("e");
    await service.facade.destroyDomain("e");
    assert.deepEqual(await service.facade.listSnapshots("d"), []);
    const migration = await service.facade.migrateStorage("d", { to: rig.image("to/") });
    assert.equal((await service.facade.waitOperation(migration.id, AbortSignal.timeout(20_000))).state, "succeeded");
  });

  test("before the decision: the pivot is given up, the guest writes on, and the next start ends it for good", async () => {
    const eye = await rig.watch("d");
    const filled = gate.at("before decide-pivot", () => disk.fill());
    await service.facade.migrateStorage("d", { to: rig.image("to/") });
    await filled;
    const final = await last(service);
    assert.equal(final.state, "failed");
    assert.match(final.error?.message ?? "", new RegExp(`state file ${disk.directory}`));
    // Nothing holds the device: this comes back.
    await writeThroughDevice(eye, "vda", 9, 1024);
    assert.deepEqual(await eye.execute("query-jobs"), []);
    const { operations } = await service.facade.showRecovery("d");
    assert.deepEqual(
      operations.map(({ operation, action }) => [operation, action.kind]),
      [[final.id, "recover"]],
    );
    disk.free();
    const after = await service.facade.applyRecovery("d");
    assert.deepEqual(after.operations, []);
    assert.deepEqual(
      after.applied.map(({ id, state }) => [id, state]),
      [[final.id, "failed"]],
    );
    assert.deepEqual(after.findings, []);
    const [active] = await rigChains(service, "d");
    assert.equal(active, rig.image("d.qcow2"), "it is as it was");
    assert.equal(existsSync(rig.image(`to/d.qcow2`)), false);
    await service.facade.destroyDomain("d");
    assertHolds(active, 9, 1024);
    await service.facade.startDomain("d");
  });

  test("at the end: the answer is known at once, and again after the next start", async () => {
    const filled = gate.at("after remove-source", () => disk.fill());
    const { id } = await service.facade.migrateStorage("d", { to: rig.image("to/") });
    const ended = service.facade.waitOperation(id, AbortSignal.timeout(20_000));
    await filled;
    gate.open();
    const final = await ended;
    assert.equal(final.state, "succeeded");
    // Who comes later is told by the journal, which does not know it; and nothing else may have the domain until it does.
    await assertRefused(service.facade.migrateStorage("d", { to: rig.image("") }), "QM_RECOVERY_NEEDED", [id]);
    assert.equal((await service.facade.showRecovery("d")).operations[0]?.action.kind, "recover");
    disk.free();
    await service.close();
    service = await compose({ stateDir: disk.directory, runtimeDir: rig.path("run"), fault: gate.fault }, silentLogger);
    const again = await service.facade.waitOperation(final.id, AbortSignal.timeout(20_000));
    assert.deepEqual([again.state, again.result], ["succeeded", final.result]);
    assert.deepEqual((await service.facade.showRecovery()).operations, []);
  });
});

test("a client that goes away in the middle of a long request does not end what it asked for; recover is a command", async () => {
  const rig = new ServiceRig();
  const gate = new Gate();
  const socketPath = rig.path("q.sock");
  const config = { stateDir: rig.path("state"), runtimeDir: rig.path("run"), socketPath, logLevel: "silent" } as const;
  let facade: Composition["facade"] | undefined;
  const daemon = await runDaemon(
    config,
    async (options, logger) => {
      const composition = await compose({ ...options, fault: gate.fault }, logger);
      facade = composition.facade;
      return composition;
    },
    pino({ level: "silent" }),
  );
  try {
    assert.ok(facade);
    await facade.createDomain(rig.domainXml("v", [rig.createImage("v.qcow2")]));
    const held = gate.at("before start-mirrors");
    const client = connect(socketPath);
    const body = JSON.stringify({ name: "s", diskspecs: [`vda,mirror=${rig.image("v.mirror")}`] });
    client.write(
      `POST /v1/domains/v/snapshots HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await held;
    client.destroy();
    const cli = (...argv: string[]) => runCli(["-c", socketPath, ...argv], createIo({ cwd: rig.directory }));
    const shown = await cli("recover", "v");
    assert.match(
      shown.stdout,
      /^snapshot-create \w+ of v, begun .*\n +Journal: .*take-snapshot.*\n +QEMU: .*monitor connected\n/,
    );
    assert.deepEqual([shown.code, shown.stderr], [0, ""]);
    gate.open();
    const [operation] = await facade.listOperations({});
    assert.ok(operation !== undefined);
    assert.equal((await facade.waitOperation(operation.id, AbortSignal.timeout(20_000))).state, "succeeded");
    assert.equal((await facade.getSnapshot("v", "s")).disks[0]?.mirror?.state, "ready");
    await facade.destroyDomain("v");
    assert.match((await cli("recover", "v", "--xml")).stdout, new RegExp(`<source file='${rig.image("v.s")}'/>`));
    assert.match((await cli("recover", "v")).stdout, /v\.mirror is its mirror, which is not the truth/);
    assert.match((await cli("recover")).stdout, /Transient domains whose QEMU has ended.*\n.*Name.*\n.*\n v /);
    assert.equal((await cli("recover", "w")).code, 1);
  } finally {
    await daemon.stop();
    await rig.close();
  }
});
