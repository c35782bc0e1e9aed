import assert from "node:assert/strict";
import { it } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { probeQemu } from "../../src/qemu/capabilities.ts";
import { cannedMonitor } from "./canned-monitor.ts";

it("knows the commands alone of a QEMU without introspection", async () => {
  const monitor = cannedMonitor({ "query-commands": [{ name: "__com.redhat_drive-mirror" }, { name: "transaction" }] });
  const features = await probeQemu(monitor);
  assert.ok(features.hasCommand("__com.redhat_drive-mirror"));
  assert.ok(!features.hasArg("__com.redhat_drive-mirror", "full"));
  assert.equal(features.transactionActions.size, 0);
  await probeQemu(monitor);
  assert.deepEqual(monitor.asked, ["query-commands", "query-qmp-schema"]);
});

it("asks again after a failure", async () => {
  const monitor = cannedMonitor({});
  for (let time = 0; time < 2; time++) {
    await assert.rejects(probeQemu(monitor), (error) => isQmError(error, "QM_QMP_COMMAND"));
  }
  assert.equal(monitor.asked.length, 4);
});
