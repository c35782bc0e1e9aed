/**
 * Snapshots of a guest whose file systems stand still meanwhile, with QEMU's own agent in it. The guest writes all the time, one
 * record to each disk in turn, and says on its console when a record is durable: a frozen guest says nothing.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { agentDeadlineMs } from "../../src/qemu/guest-agent.ts";
import type { WitnessReport } from "../../src/testing/witness/serial-log.ts";
import { QuiesceRig } from "./quiesce-rig.ts";
import { assertRefused } from "./service-rig.ts";

let rig: QuiesceRig;
before(async () => {
  rig = await QuiesceRig.create();
  await rig.open();
  await rig.boot();
});
afterEach(() => {
  rig.atPoint = () => Promise.resolve();
});
after(() => rig.close());

const quiesced = (name: string) => ({ name, diskOnly: true, quiesce: true });

/** Nothing that a snapshot makes is there, and the guest writes to what it wrote to before. */
async function assertUnchanged(seen: Awaited<ReturnType<typeof lookAround>>): Promise<void> {
  assert.deepEqual(await lookAround(), seen);
  await rig.awaitWrites();
}

async function lookAround() {
  const snapshots = (await rig.facade.listSnapshots("witness")).length;
  return { files: rig.newFiles(), active: await rig.activePaths(), snapshots };
}

test("a quiesced snapshot holds file systems at rest with every acknowledged write; one that is not does not", async () => {
  const bases = await rig.activePaths();
  let frozen: WitnessReport | undefined;
  rig.atPoint = async (point) => {
    if (point === "before take-snapshot") frozen = await rig.assertStill();
  };
  const { operation } = await rig.facade.createSnapshot("witness", quiesced("s1"));
  assert.equal(operation?.state, "succeeded");
  assert.ok(frozen, "the point was reached");
  await rig.awaitWrites();

  const { states, check } = await rig.inspect(bases, frozen.acknowledged);
  assert.deepEqual(states, [{ needsRecovery: false }, { needsRecovery: false }]);
  assert.deepEqual(await check(), {
    missing: 0,
    corrupt: 0,
    patternDamaged: 0,
    instantConsistent: true,
    // All that was acknowledged, and no more: the next write waited for the thaw
    lastSequence: frozen.acknowledged,
  });
  const { writes } = await rig.report();
  const last = frozen.writes.length - 1;
  const waited = writes[last + 1]?.latencyUs ?? 0;
  assert.ok(waited > 800_000, `the write after the freeze took ${waited} µs`);

  rig.atPoint = () => Promise.resolve();
  const overlays = await rig.activePaths();
  await rig.facade.createSnapshot("witness", { name: "s2", diskOnly: true });
  const torn = await rig.inspect(overlays, frozen.acknowledged);
  assert.deepEqual(torn.states, [{ needsRecovery: true }, { needsRecovery: true }]);
});

test("without an agent a quiesced snapshot is refused before anything is done", async () => {
  const channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";
  for (const [name, device, reason] of [
    ["bare", "", "no channel"],
    ["deaf", channel, "no agent runs in the guest"],
  ] as const) {
    const image = rig.createImage(`${name}.qcow2`);
    const before = rig.newFiles();
    await rig.facade.createDomain(`<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
      <os><type arch='x86_64' machine='q35'>hvm</type></os>
      <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/>
        <target dev='vda' bus='virtio'/></disk>${device}</devices></domain>`);
    const startMs = performance.now();
    await assertRefused(rig.facade.createSnapshot(name, quiesced("s")), "QM_AGENT", [name, reason]);
    assert.ok(performance.now() - startMs < agentDeadlineMs);
    assert.deepEqual(rig.newFiles(), before);
    assert.deepEqual(await rig.facade.listSnapshots(name), []);
    assert.deepEqual(await rig.facade.listOperations({ domain: name }), []);
  }
});

test("a guest frozen by hand stays so until it is thawed by hand", async () => {
  const { facade } = rig;
  assert.equal(await facade.freezeFilesystems("witness"), 2);
  await rig.assertStill();
  await assertRefused(facade.freezeFilesystems("witness"), "QM_AGENT", ["frozen state"]);
  const seen = await lookAround();
  // Whoever froze it wants it frozen: a snapshot that cannot freeze it does not thaw it either
  await assertRefused(facade.createSnapshot("witness", quiesced("by-hand")), "QM_AGENT", ["frozen state"]);
  await rig.assertStill();
  assert.equal(await facade.thawFilesystems("witness"), 2);
  await assertUnchanged(seen);
  assert.equal(await facade.thawFilesystems("witness"), 0);
  assert.equal(await facade.freezeFilesystems("witness", ["/mnt/vdb"]), 1);
  await rig.assertStill();
  assert.equal(await facade.thawFilesystems("witness"), 1);
  await rig.awaitWrites();
});

test("a snapshot that QEMU refuses while the guest is frozen thaws it", async () => {
  const seen = await lookAround();
  const { proxy, restore } = await rig.proxyMonitor();
  rig.atPoint = async (point) => {
    if (point === "before take-snapshot") await rig.assertStill();
  };
  proxy.faults.refuse("transaction", 1, "made to fail");
  await assertRefused(rig.facade.createSnapshot("witness", quiesced("refused")), "QM_QMP_COMMAND", ["made to fail"]);
  await assertUnchanged(seen);
  await restore();
});

/** The daemon of another process has died in a quiesced snapshot: the next one thaws the guest, and the operation has an answer. */
async function assertRecovered(seen: Awaited<ReturnType<typeof lookAround>>): Promise<void> {
  await rig.assertStill();
  await rig.open();
  const [newest] = await rig.facade.listOperations({});
  assert.ok(newest);
  const final = await rig.facade.waitOperation(newest.id, AbortSignal.timeout(30_000));
  assert.equal(final.state, "failed");
  assert.equal(final.error?.code, "QM_INTERRUPTED");
  assert.match(final.error.message, /it was undone/);
  await assertUnchanged(seen);
}

for (const dieAt of ["after freeze", "before take-snapshot", "after take-snapshot"]) {
  test(`a daemon that dies ${dieAt} leaves a frozen guest, which the next one thaws`, async () => {
    const seen = await lookAround();
    await rig.closeService();
    await rig.dieAt(dieAt, "died");
    await assertRecovered(seen);
  });
}

test("a daemon that dies before it hears that the guest is frozen leaves it to the next one", async () => {
  const seen = await lookAround();
  const { answered, restore } = await rig.loseFreezeAnswer();
  await rig.closeService();
  await rig.dieAt(answered, "unheard");
  await assertRecovered(seen);
  await restore();
});

test("an agent that does not answer a freeze is an error within the deadline, and the guest is thawed", async () => {
  const seen = await lookAround();
  const { answered, restore } = await rig.loseFreezeAnswer();
  const startMs = performance.now();
  const refused = assertRefused(rig.facade.createSnapshot("witness", quiesced("mute")), "QM_AGENT", [
    `did not answer within ${agentDeadlineMs} ms; its file systems were thawed`,
  ]);
  await answered;
  await rig.assertStill();
  await refused;
  assert.ok(performance.now() - startMs < agentDeadlineMs + 3_000);
  await assertUnchanged(seen);
  await restore();
});

test("a guest is thawed even where nothing else can be undone", async () => {
  const [before] = await rig.activePaths();
  rig.atPoint = async (point) => {
    if (point === "after take-snapshot") throw new Error("made to fail");
    if (point === "undo take-snapshot") throw new Error("cannot be undone");
  };
  await assertRefused(rig.facade.createSnapshot("witness", quiesced("stuck")), "QM_ROLLBACK", ["cannot be undone"]);
  assert.notEqual((await rig.activePaths())[0], before, "the overlays are still there");
  await rig.awaitWrites();
});
