/**
 * QEMU is stopped (SIGSTOP) in each phase of a migration: it is alive and answers nothing, which must be taken neither for its end nor
 * for its answer. It goes on later, or is killed.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Monitor } from "../../src/qemu/monitor.ts";
import type { OperationView } from "../../src/api-types/index.ts";
import { assertRefused, writeThroughDevice } from "../live/service-rig.ts";
import { assertReads, awaitView, FaultRig } from "./fault-rig.ts";

/** Every phase that talks to QEMU, and the copying that does not. */
const phases = [
  "before create-files",
  "before prepare-images",
  "before take-snapshot",
  "before start-mirrors",
  "before await-ready",
  "before copy-layers",
  "before attach-backing",
  "before decide-pivot",
  "after decide-pivot",
  "before close-source",
  "before merge-overlays",
] as const;

const pauseMs = 250;

describe("QEMU is stopped while storage is migrated", () => {
  const rig = new FaultRig();
  let eye: Monitor;
  let pid: number;
  let moves = 0;
  const written: Record<number, number> = {};
  before(async () => {
    await rig.open();
    const disks = [rig.createImage("vda.qcow2", { pattern: 7 }), rig.createImage("vdb.qcow2", { pattern: 9 })];
    eye = await rig.start("d", disks);
    pid = await rig.pid("d");
  });
  after(() => rig.close());

  const migrate = (): Promise<OperationView> => rig.facade.migrateStorage("d", { to: rig.image(`to${++moves}/`) });
  const directories = async (): Promise<string[]> =>
    (await rig.chains("d")).map(([active = ""]) => dirname(active).replace(rig.path("images"), ""));
  /** To both disks, as the guest would. */
  async function write(): Promise<void> {
    const offsetKib = 2048 + 64 * moves;
    written[offsetKib] = moves + 1;
    for (const id of ["vda", "vdb"]) await writeThroughDevice(eye, id, moves + 1, offsetKib);
  }
  async function assertNothingLost(): Promise<void> {
    for (const [active = ""] of await rig.chains("d")) assertReads(active, written);
  }
  const stopAndContinue = (afterMs: number) => (): void => {
    process.kill(pid, "SIGSTOP");
    setTimeout(() => process.kill(pid, "SIGCONT"), afterMs);
  };

  for (const phase of phases) {
    test(`${phase}, and goes on: the migration has waited for it`, async () => {
      await write();
      rig.at(phase, stopAndContinue(pauseMs));
      const final = await rig.finish(await migrate());
      assert.equal(final.state, "succeeded", JSON.stringify(final.error));
      assert.deepEqual(await directories(), [`/to${moves}`, `/to${moves}`]);
      assert.deepEqual(await eye.execute("query-jobs"), []);
      await assertNothingLost();
    });
  }

  test("before prepare-pivot, for longer than a guest may be held: the pivot is given up, all as before", async () => {
    await write();
    const chains = await rig.chains("d");
    rig.at("before prepare-pivot", stopAndContinue(2300));
    const final = await rig.finish(await migrate());
    assert.equal(final.error?.code, "QM_PIVOT_REFUSED", JSON.stringify(final));
    assert.match(final.error.message, /2000 ms; every disk stays on its source/);
    assert.deepEqual(await rig.chains("d"), chains);
    assert.deepEqual(await eye.execute("query-jobs"), []);
    assert.deepEqual(readdirSync(rig.image(`to${moves}`)), []);
    await write();
    await assertNothingLost();
  });

  test("while a snapshot is being undone: the undoing has waited for it", async () => {
    const chains = await rig.chains("d");
    rig.at("before copy-layers", () => Promise.reject(new Error("made to fail")));
    rig.at("undo start-mirrors", stopAndContinue(pauseMs));
    const final = await rig.finish(await migrate());
    assert.equal(final.error?.code, "QM_INTERNAL", JSON.stringify(final));
    assert.deepEqual(await rig.chains("d"), chains);
    assert.deepEqual(readdirSync(rig.image(`to${moves}`)), []);
    await write();
    await assertNothingLost();
  });

  for (const [phase, decided] of [
    ["before take-snapshot", false],
    ["before await-ready", false],
    ["before prepare-pivot", false],
    ["before decide-pivot", true],
    ["before close-source", true],
  ] as const) {
    test(`${phase}, and is killed: ${decided ? "the copies" : "the sources"} are the truth, for every disk`, async () => {
      await write();
      const before = await directories();
      rig.at(phase, () => {
        process.kill(pid, "SIGSTOP");
        setTimeout(() => process.kill(pid, "SIGKILL"), pauseMs);
      });
      const final = await rig.finish(await migrate());
      assert.equal(final.state, decided ? "succeeded" : "failed", JSON.stringify(final));
      if (!decided) assert.equal(final.error?.code, "QM_QEMU_GONE");
      const truth = final.result?.["truth"] as Record<string, string>;
      assert.deepEqual(
        Object.values(truth).map((path) => dirname(path).replace(rig.path("images"), "")),
        decided ? [`/to${moves}`, `/to${moves}`] : before,
      );
      if (!decided) assert.deepEqual(readdirSync(rig.image(`to${moves}`)), []);
      // The end of QEMU is told after the operation's.
      await assert.doesNotReject(awaitShutOff());
      for (const path of Object.values(truth)) assertReads(path, written);
      await rig.facade.startDomain("d");
      eye = await rig.watch("d");
      pid = await rig.pid("d");
      for (const { name } of await rig.facade.listSnapshots("d")) await rig.facade.deleteSnapshot("d", name, {});
    });
  }

  async function awaitShutOff(): Promise<void> {
    const signal = AbortSignal.timeout(20_000);
    for await (const _ of rig.facade.watchEvents({ domain: "d", since: 0 }, signal)) {
      if ((await rig.facade.getDomain("d")).state === "shut off") return;
    }
    assert.fail("the end of QEMU was not noticed");
  }

  test("for good, while layers are copied: that is told, and destroying the domain ends it", async () => {
    await write();
    rig.at("before attach-backing", () => void process.kill(pid, "SIGSTOP"));
    const operation = await migrate();
    const { stall } = await awaitView(rig.facade, operation.id, (view) => view.stall !== undefined);
    assert.equal(stall?.kind, "no-answer", JSON.stringify(stall));
    assert.match(stall.text, /QEMU has not answered \S+ .*since \d{4}-.*it hangs or was stopped/);
    await assertRefused(rig.facade.cloneStorage("d", { to: rig.image("other/") }), "QM_DOMAIN_BUSY", ["'d'"]);
    await rig.facade.destroyDomain("d");
    const final = await rig.finish(operation);
    assert.equal(final.error?.code, "QM_QEMU_GONE");
    assert.deepEqual(readdirSync(rig.image(`to${moves}`)), []);
    await assertNothingLost();
  });
});
