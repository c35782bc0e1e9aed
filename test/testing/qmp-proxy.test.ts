import assert from "node:assert/strict";
import { afterEach, beforeEach, it } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { connectQmp, type QmpClient } from "../../src/qmp/index.ts";
import { startFakeQemu, type FakeQemu } from "../../src/testing/fake-qemu/index.ts";
import { startQmpProxy, type QmpProxy } from "../../src/testing/qmp-proxy.ts";

let qemu: FakeQemu;
let proxy: QmpProxy;
let client: QmpClient;

beforeEach(async () => {
  qemu = await startFakeQemu({ kind: "reopen", devices: [] });
  proxy = await startQmpProxy({ upstream: qemu.socketPath });
  client = await connectQmp({ path: proxy.path });
});

afterEach(async () => {
  await client.close();
  await proxy.close();
  await qemu.close();
});

const isLost = (error: unknown): boolean => isQmError(error, "QM_QMP_LOST");

it("passes commands, answers, refusals and events on, and records the commands", async () => {
  const events = client.subscribe(["STOP"]);
  await client.execute("stop");
  assert.equal((await events.next()).event, "STOP");
  events.close();
  await assert.rejects(client.execute("query-block", { flat: true }), /'flat'/);
  assert.deepEqual(proxy.log, [
    { command: "qmp_capabilities", args: {} },
    { command: "stop", args: {} },
    { command: "query-block", args: { flat: true } },
  ]);
});

it("refuses a command without passing it on", async () => {
  proxy.faults.refuse("stop", 1, "no");
  await assert.rejects(client.execute("stop"), /refused stop: no/);
  assert.equal(qemu.running, true);
  assert.deepEqual(await client.execute("query-name"), { name: "fake" });
});

it("drops the connection before a command, with the answers to earlier ones delivered", async () => {
  proxy.faults.dropConnectionBefore("stop", 1);
  const earlier = client.execute("query-name");
  await assert.rejects(client.execute("stop"), isLost);
  assert.deepEqual(await earlier, { name: "fake" });
  assert.equal(qemu.running, true);
});

it("drops the connection after a command that QEMU has carried out; QEMU takes the next client", async () => {
  proxy.faults.dropConnectionAfter("stop", 1);
  await assert.rejects(client.execute("stop"), isLost);
  assert.equal(qemu.running, false);
  const again = await connectQmp({ path: proxy.path });
  await again.execute("cont");
  await again.close();
  assert.equal(qemu.running, true);
});

it("holds a command until it is released", async () => {
  const fault = proxy.faults.hang("stop", 1);
  const stopped = client.execute("stop");
  await fault.reached;
  assert.equal(qemu.running, true);
  fault.release();
  await stopped;
  assert.equal(qemu.running, false);
});

it("ends its clients when QEMU ends", async () => {
  await qemu.close();
  assert.ok(isLost(await client.closed));
});
