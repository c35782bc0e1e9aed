import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { shutdownDomain } from "../../src/service/domain-verbs.ts";
import { freezeFilesystems, thawFilesystems } from "../../src/service/guest-agent.ts";
import { machineOf } from "../../src/service/machine.ts";
import { assertRefused } from "./service-rig.ts";
import { VerbsRig } from "./verbs-rig.ts";

let rig: VerbsRig;
beforeEach(() => {
  rig = new VerbsRig();
});
afterEach(() => rig.close());

const channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";

test("a channel that nobody in the guest has opened is told at once, without asking", async () => {
  const entry = await rig.start(rig.domainXml("d", { devices: channel }));
  const startMs = performance.now();
  await assertRefused(freezeFilesystems(rig.deps, entry), "QM_AGENT", ["no agent runs in the guest"]);
  await assertRefused(machineOf(rig.deps, entry).thaw(), "QM_AGENT", ["no agent"]);
  await assertRefused(shutdownDomain(rig.deps, entry, { modes: ["agent"] }), "QM_AGENT", ["no agent"]);
  assert.ok(performance.now() - startMs < 5_000);
});

test("a domain without a channel, one that does not run, and thawing in part are refused", async () => {
  const entry = await rig.start(rig.domainXml("d"));
  await assertRefused(freezeFilesystems(rig.deps, entry), "QM_AGENT", ["no channel"]);
  await assertRefused(thawFilesystems(rig.deps, entry, ["/srv"]), "QM_UNSUPPORTED", ["thaws all"]);
  await rig.lifecycle.destroy(entry);
  await assertRefused(freezeFilesystems(rig.deps, entry), "QM_DOMAIN_NOT_RUNNING");
});
