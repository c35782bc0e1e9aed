/**
 * The daemon and QEMU are killed together at every named point of the engine. Afterwards the definition names images of one side,
 * which hold every acknowledged write, the operation has an answer and nothing is left over.
 */
import assert from "node:assert/strict";
import { mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { describe, test } from "node:test";
import { assertNothingLost, WitnessRig } from "../live/witness-rig.ts";
import { assertOneSide, casesOf, recoverOperation, runActor } from "./cases.ts";

describe("the daemon and QEMU die together", () => {
  for (const { verb, dieAt, failAt } of [...casesOf("migrate"), ...casesOf("clone")]) {
    test(`${verb} ${dieAt}`, async () => {
      const rig = await WitnessRig.create({ disks: 3 });
      try {
        await rig.open();
        await rig.boot();
        await rig.closeService();
        const to = rig.path("target");
        const act = { ...rig.dirs, verb, to, dieAt, withQemu: true, ...(failAt === undefined ? {} : { failAt }) };
        assert.equal(await runActor(act), "SIGKILL", "the point was reached");
        await rig.open();
        const final = await recoverOperation(rig);
        assert.equal((await rig.facade.getDomain("witness")).state, "shut off");
        const chains = (await rig.disks()).map((disk) => disk.chain.map((image) => image.path));
        assert.equal(new Set(chains.map((chain) => dirname(chain[0] ?? ""))).size, 1, JSON.stringify(chains));
        if (verb === "clone" && final.state === "succeeded") await rm(to, { recursive: true }).then(() => mkdir(to));
        await assertOneSide(rig, [rig.path("source"), to]);
        assertNothingLost(await rig.stopAndCheck());
      } finally {
        await rig.close();
      }
    });
  }
});
