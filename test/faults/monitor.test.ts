/** QEMU's monitor breaks off, stutters, says what no QEMU says, or is silent. QEMU and its guest go on. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { EventView, OperationView } from "../../src/api-types/index.ts";
import { blockdevDisks, writeThroughDevice, type ForeignQemu, type Seen } from "../live/service-rig.ts";
import { assertReads, awaitView, FaultRig, swallow, type Relay } from "./fault-rig.ts";

/** Slow enough that something can happen while it copies. */
const bytesPerS = 4 * 1024 * 1024;

describe("the monitor fails while storage is migrated", () => {
  const rig = new FaultRig();
  let qemu: ForeignQemu;
  let relay: Relay;
  before(async () => {
    await rig.open();
    qemu = await rig.startForeign(blockdevDisks({ vda: rig.createImage("vda.qcow2", { pattern: 7 }) }));
    relay = await rig.attachThroughRelay("d", qemu);
  });
  after(() => rig.close());

  let moves = 0;
  const migrate = (): Promise<OperationView> =>
    rig.facade.migrateStorage("d", { to: rig.image(`to${++moves}/`), bytesPerS });
  const names = (seen: Seen): Seen => ({ ...seen, files: seen.files.map((line) => line.split(" ")[0] ?? "") });

  const timestamp = { seconds: 1, microseconds: 1 };
  const harmless: Readonly<Record<string, unknown>> = {
    "an unknown event": { event: "NEVER_HEARD_OF", data: { id: "x" }, timestamp },
    "an event of a job that nobody knows": {
      event: "JOB_STATUS_CHANGE",
      data: { id: "nobody", status: "concluded" },
      timestamp,
    },
    "an unknown state of a job": { event: "JOB_STATUS_CHANGE", data: { id: "nobody", status: "wonderful" }, timestamp },
    "an event without its data": { event: "JOB_STATUS_CHANGE", timestamp },
    "an answer to an earlier client": { return: {}, id: "somebody-1" },
  };
  const harmful: Readonly<Record<string, () => void>> = {
    "the connection drops": () => relay.cut(),
    "half a line, and then nothing more": () => {
      relay.say('{"event": "JOB_STA');
      relay.cut();
    },
    "garbage in the middle of a line": () => relay.say("\u0000\u0001{{{\n"),
    "an event that carries no object": () =>
      relay.say(`${JSON.stringify({ event: "JOB_STATUS_CHANGE", data: 7, timestamp })}\n`),
    "a greeting of somebody else": () => relay.say('{"QMP": {"version": {}, "capabilities": []}}\n'),
  };

  for (const [what, message] of Object.entries(harmless)) {
    test(`${what}: it goes on as if nothing had been said`, async () => {
      const operation = await migrate();
      await awaitView(rig.facade, operation.id, ({ step }) => step === "copy-layers");
      relay.say(`${JSON.stringify(message)}\n`);
      assert.equal((await rig.finish(operation)).state, "succeeded");
    });
  }

  for (const [what, happen] of Object.entries(harmful)) {
    test(`${what}: QEMU is found again, and the migration goes on`, async () => {
      const operation = await migrate();
      await awaitView(rig.facade, operation.id, ({ step }) => step === "copy-layers");
      happen();
      const final = await rig.finish(operation);
      assert.equal(final.state, "succeeded", JSON.stringify(final.error));
      assert.deepEqual(await qemu.eye.execute("query-jobs"), []);
    });
  }

  test("a command that is never answered: it is told which, of which disk, since when; cancelled, it is undone once QEMU is back", async () => {
    const seen = await rig.see("d", qemu.eye);
    const silent = swallow("blockdev-create");
    relay.rewrite = silent.rewrite;
    const events: EventView[] = [];
    const watching = new AbortController();
    const heard = (async () => {
      for await (const event of rig.facade.watchEvents({ domain: "d" }, watching.signal)) events.push(event);
    })();
    const started = Date.now();
    const operation = await migrate();
    await silent.reached;
    const { stall } = await awaitView(rig.facade, operation.id, (view) => view.stall !== undefined);
    assert.ok(stall?.kind === "no-answer");
    assert.deepEqual([stall.command, stall.target], ["blockdev-create", "vda"]);
    assert.match(stall.text, /not answered blockdev-create for disk 'vda' since /);
    assert.ok(Math.abs(Date.parse(stall.since) - started) < 2000, stall.since);
    // The guest does not care.
    await writeThroughDevice(qemu.eye, "vda", 0x31, 1024);
    const cancelled = rig.facade.cancelOperation(operation.id);
    relay.cut();
    const final = await cancelled;
    assert.equal(final.state, "cancelled", JSON.stringify(final));
    watching.abort();
    await heard;
    const told = events.filter(({ type }) => type === "operation").map(({ detail }) => detail);
    assert.deepEqual(
      told.map(({ state, stall: held }) => [state, (held as { kind?: string } | null | undefined)?.kind]),
      [
        ["running", undefined],
        ["running", "no-answer"],
        ["cancelled", undefined],
      ],
    );
    const now = names(await rig.see("d", qemu.eye));
    assert.deepEqual({ ...now, files: [] }, { ...names(seen), files: [] });
    assert.deepEqual(
      now.files.filter((path) => !names(seen).files.includes(path)),
      [],
    );
  });

  test("a command of the pivot that is never answered: the pivot is given up in time, and QEMU is on its source", async () => {
    const silent = swallow("job-complete");
    relay.rewrite = silent.rewrite;
    const chain = await rig.chains("d");
    const operation = await migrate();
    await silent.reached;
    const final = await rig.finish(operation);
    assert.equal(final.error?.code, "QM_PIVOT_REFUSED", JSON.stringify(final));
    assert.match(final.error.message, /2000 ms/);
    assert.deepEqual(await rig.chains("d"), chain);
    assert.deepEqual(await qemu.eye.execute("query-jobs"), []);
    await writeThroughDevice(qemu.eye, "vda", 0x32, 1088);
  });

  test("at the end everything is in the images that the domain names", async () => {
    const [active = ""] = (await rig.chains("d"))[0] ?? [];
    assertReads(active, { 0: 7, 1024: 0x31, 1088: 0x32 });
    await rig.facade.detachDomain("d");
  });
});
