/**
 * The daemon is killed at every named point of the engine and started again, over one guest that writes all the while. Each time all
 * disks are on one side, the operation has an answer and nothing is left over; in the end every acknowledged write is there.
 */
import assert from "node:assert/strict";
import { mkdir, readdir, unlink } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { assertNothingLost, WitnessRig } from "../live/witness-rig.ts";
import { assertOneSide, assertQuiet, casesOf, recoverOperation, runActor } from "./cases.ts";

describe("the daemon dies alone, QEMU lives", () => {
  let rig: WitnessRig;
  before(async () => {
    rig = await WitnessRig.create({ disks: 3 });
    await rig.open();
    await rig.boot();
  });
  after(() => rig.close());

  let side = "source";
  for (const [index, { verb, dieAt, failAt }] of [...casesOf("migrate"), ...casesOf("clone")].entries()) {
    test(`${verb} ${dieAt}`, async () => {
      const target = `side-${index}`;
      await mkdir(rig.path(target));
      await rig.closeService();
      const act = {
        ...rig.dirs,
        verb,
        to: rig.path(target),
        dieAt,
        withQemu: false,
        ...(failAt === undefined ? {} : { failAt }),
      };
      assert.equal(await runActor(act), "SIGKILL", "the point was reached");
      await rig.open();
      const final = await recoverOperation(rig);
      await rig.awaitWrites(10);
      if (verb === "clone") {
        // A finished clone is no leftover; it is checked for being whole, then dropped.
        if (final.state === "succeeded") {
          const names = await readdir(rig.path(target));
          const copies = ["vda", "vdb", "vdc"].map(
            (disk) => names.find((name) => name.startsWith(`${disk}.qcow2.clone-`)) ?? "none",
          );
          assertNothingLost(
            await rig.check(
              copies.map((name) => rig.path(target, name)),
              { acknowledged: false },
            ),
          );
          for (const name of names) await unlink(rig.path(target, name));
        }
        assert.equal(await assertOneSide(rig, [rig.path(side), rig.path(target)]), rig.path(side));
      } else {
        const now = await assertOneSide(rig, [rig.path(side), rig.path(target)]);
        assert.equal(now, rig.path(final.state === "succeeded" ? target : side), JSON.stringify(final));
        side = now.slice(rig.path("").length);
      }
      await assertQuiet(rig);
    });
  }

  test("and at the end every acknowledged write is there", async () => {
    assertNothingLost(await rig.stopAndCheck());
  });
});
