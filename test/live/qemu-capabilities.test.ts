import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { tryAccelerator } from "../../src/qemu/accel.ts";
import { probeQemu } from "../../src/qemu/capabilities.ts";
import { QemuRig } from "./qemu-rig.ts";

describe("probeQemu", () => {
  it("knows commands, arguments and transaction actions, and asks once a connection", async () => {
    const rig = new QemuRig();
    try {
      const monitor = await rig.startForeign([]);
      const features = await probeQemu(monitor);
      assert.equal(await probeQemu(monitor), features);
      assert.ok(features.hasCommand("blockdev-mirror"));
      assert.ok(!features.hasCommand("drive-reopen"));
      assert.ok(features.hasArg("blockdev-mirror", "copy-mode"));
      assert.ok(!features.hasArg("blockdev-mirror", "no-such"));
      assert.ok(features.hasArg("blockdev-add", "data-file"), "an argument of one driver alone");
      assert.ok(features.transactionActions.has("blockdev-snapshot"));
      assert.ok(!features.transactionActions.has("drive-mirror"));
      const needs = ["job-finalize", "drive-reopen", "job-complete.id", "job-complete.x"];
      const actions = ["transaction:abort", "transaction:drive-mirror"];
      const lacking = ["drive-reopen", "job-complete.x", "transaction:drive-mirror"];
      assert.deepEqual(features.missingFor([...needs, ...actions]), lacking);
    } finally {
      await rig.close();
    }
  });
});

describe("tryAccelerator", () => {
  it("sees guest code run under TCG", async () => {
    assert.deepEqual(await tryAccelerator("tcg"), { works: true, reason: "a guest ran" });
  });

  it("says why nothing ran", async () => {
    const late = await tryAccelerator("tcg", { timeoutMs: 20 });
    assert.deepEqual(late, { works: false, reason: "no guest code ran within 20 ms" });
    const none = await tryAccelerator("tcg", { emulator: "/no/such/qemu" });
    assert.deepEqual(none, { works: false, reason: "spawn /no/such/qemu ENOENT" });
    const wrong = await tryAccelerator("tcg", { emulator: "qemu-img" });
    assert.match(wrong.reason, /^QEMU exited with status 1; QEMU said: qemu-img/);
    await assert.rejects(tryAccelerator("tcg", { signal: AbortSignal.abort() }), { name: "AbortError" });
  });
});
