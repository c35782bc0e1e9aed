/** The pivot of a block copy when something dies around its decision, and when QEMU refuses the last step. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { compose } from "../../src/daemon/compose.ts";
import { readStartTime } from "../../src/qemu/identity.ts";
import {
  assertHolds,
  assertRefused,
  blockdevDisks,
  openFiles,
  ServiceRig,
  writeThroughDevice,
  type ForeignQemu,
} from "./service-rig.ts";
import { silentLogger } from "./witness-rig.ts";

/** What the image that is true holds in the end: from before the copy, while it followed, and after its end; by KiB. */
const written = [
  [1, 0],
  [0x55, 4096],
  [0x66, 5120],
] as const;

describe("the decision of a block copy's pivot", () => {
  let rig: ServiceRig;
  let source: string;
  let dest: string;

  beforeEach(async () => {
    rig = new ServiceRig();
    source = rig.createImage("base", { pattern: 1 });
    dest = rig.image("copy");
    await rig.open();
  });
  afterEach(() => rig.close());

  /** Asks for the pivot in a daemon that stops for ever at `point`, and ends that daemon. */
  async function pivotUntil(point: string): Promise<void> {
    await rig.closeService();
    const reached = Promise.withResolvers<void>();
    const fault = (name: string): Promise<void> => {
      if (name !== point) return Promise.resolve();
      reached.resolve();
      return new Promise(() => undefined);
    };
    const config = { stateDir: rig.path("state"), runtimeDir: rig.path("run"), fault };
    const daemon = await compose(config, silentLogger);
    daemon.facade.endBlockJob("g", "vda", "pivot").catch(() => undefined);
    await reached.promise;
    await daemon.close();
  }

  async function killQemu(uuid: string): Promise<void> {
    const pid = rig.pidOf(uuid);
    process.kill(pid, "SIGKILL");
    // It is not our child: nothing tells of its end.
    while (readStartTime(pid) !== undefined) await delay(10);
  }

  const cases = [
    { point: "before establish", dies: false, truth: "source" },
    { point: "before establish", dies: true, truth: "source" },
    { point: "before finish-copy", dies: false, truth: "copy" },
    { point: "before finish-copy", dies: true, truth: "copy" },
    { point: "after finish-copy", dies: false, truth: "copy" },
    { point: "after finish-copy", dies: true, truth: "copy" },
  ];
  for (const { point, dies, truth } of cases) {
    test(`the daemon ${dies ? "and QEMU die" : "dies"} ${point}: the ${truth} is the truth`, async () => {
      await rig.facade.defineDomain(rig.domainXml("g", [source]));
      const { uuid } = await rig.facade.startDomain("g");
      const eye = await rig.watch("g");
      const { id } = await rig.facade.blockCopy("g", "vda", { dest });
      await rig.facade.waitOperation(id, AbortSignal.timeout(20_000));
      await writeThroughDevice(eye, "vda", 0x55, 4096);
      await pivotUntil(point);
      if (dies) await killQemu(uuid);
      await rig.open();
      const [operation] = await rig.facade.listOperations({ domain: "g" });
      assert.ok(operation);
      const { state, error } = await rig.finish(operation);
      assert.equal(state, truth === "copy" ? "succeeded" : "failed", JSON.stringify(error));
      const active = truth === "copy" ? dest : source;
      assert.deepEqual(await rig.chains("g"), [[active]]);
      const xml = await rig.facade.domainXml("g", { inactive: true });
      assert.ok(xml.includes(`'${active}'`), xml);
      assert.equal(await rig.facade.blockJob("g", "vda"), undefined);
      if (dies) await rig.facade.startDomain("g");
      else {
        assert.deepEqual(await eye.execute("query-jobs"), []);
        assert.ok(!openFiles(rig.pidOf(uuid)).includes(truth === "copy" ? source : dest));
      }
      const again = dies ? await rig.watch("g") : eye;
      await writeThroughDevice(again, "vda", 0x66, 5120);
      await rig.facade.destroyDomain("g");
      for (const [pattern, at] of written) assertHolds(active, pattern, at);
    });
  }

  describe("with a QEMU that refuses", () => {
    let qemu: ForeignQemu;

    async function attach() {
      qemu = await rig.startForeign(blockdevDisks({ vda: source }));
      const proxy = await rig.attachThroughProxy("g", qemu);
      const { id } = await rig.facade.blockCopy("g", "vda", { dest });
      await rig.facade.waitOperation(id, AbortSignal.timeout(20_000));
      await writeThroughDevice(qemu.eye, "vda", 0x55, 4096);
      return proxy;
    }

    async function assertOnSource(): Promise<void> {
      assert.deepEqual(await rig.chains("g"), [[source]]);
      assert.equal(await rig.facade.blockJob("g", "vda"), undefined);
      assert.deepEqual(await qemu.eye.execute("query-jobs"), []);
      assert.ok(!openFiles(qemu.pid).includes(dest));
      await writeThroughDevice(qemu.eye, "vda", 0x66, 5120);
      await qemu.eye.execute("quit");
      await qemu.kill();
      for (const [pattern, at] of written) assertHolds(source, pattern, at);
    }

    test("to hold the copy: the pivot is given up before its decision", async () => {
      const proxy = await attach();
      proxy.faults.refuse("job-complete", 1, "not now");
      await assertRefused(rig.facade.endBlockJob("g", "vda", "pivot"), "QM_PIVOT_REFUSED", ["not now"]);
      await assertOnSource();
    });

    test("to finish it: the decision is taken back", async () => {
      const proxy = await attach();
      for (const nth of [1, 2, 3]) proxy.faults.refuse("job-finalize", nth, "never");
      await assertRefused(rig.facade.endBlockJob("g", "vda", "pivot"), "QM_JOB_FAILED", ["never"]);
      await assertOnSource();
    });

    test("to start it: nothing is left", async () => {
      qemu = await rig.startForeign(blockdevDisks({ vda: source }));
      const proxy = await rig.attachThroughProxy("g", qemu);
      const before = await rig.see("g", qemu.eye);
      for (const command of ["blockdev-mirror", "blockdev-add"]) {
        proxy.faults.refuse(command, 1, "no copy");
        const { error } = await rig.finish(await rig.facade.blockCopy("g", "vda", { dest }));
        assert.match(error?.message ?? "", /no copy/);
        assert.deepEqual(await rig.see("g", qemu.eye), before);
      }
    });

    for (const when of ["Before", "After"] as const) {
      for (const command of ["job-complete", "job-finalize"]) {
        test(`the connection drops ${when.toLowerCase()} the answer to ${command}: what is true is found out`, async () => {
          const proxy = await attach();
          proxy.faults[`dropConnection${when}`](command, 1);
          await rig.facade.endBlockJob("g", "vda", "pivot").catch(() => undefined);
          const active = command === "job-finalize" ? dest : source;
          assert.deepEqual(await rig.chains("g"), [[active]]);
          await writeThroughDevice(qemu.eye, "vda", 0x66, 5120);
          await qemu.kill();
          for (const [pattern, at] of written) assertHolds(active, pattern, at);
        });
      }
    }
  });
});
