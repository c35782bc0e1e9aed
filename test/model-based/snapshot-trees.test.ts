/**
 * Random snapshot trees on a real QEMU and real images. `QMIRROR_SEED=N QMIRROR_STEPS=M` walks one walk again.
 */
import { test } from "node:test";
import { SnapshotWalk } from "./snapshot-walk.ts";

const given = process.env["QMIRROR_SEED"];
const steps = Number(process.env["QMIRROR_STEPS"] ?? 105);
// The last one is new each time.
const seeds = given === undefined ? [1, 2, 3, 4, Math.floor(Math.random() * 2 ** 31)] : [Number(given)];

for (const seed of seeds) {
  test(`a walk of ${steps} steps, seed ${seed}: every snapshot shows what it held`, async (t) => {
    const walk = new SnapshotWalk(seed);
    let step = 0;
    try {
      await walk.open();
      for (; step < steps; step++) await walk.step();
      await walk.finish();
    } catch (error) {
      const told = walk.history.map((line, index) => `${index + 1}. ${line}`).join("\n");
      throw new Error(`QMIRROR_SEED=${seed} QMIRROR_STEPS=${step + 1}: ${String(error)}\n${told}`, { cause: error });
    } finally {
      await walk.close();
    }
    t.diagnostic([...walk.counts].map(([kind, count]) => `${kind}: ${count}`).join(", "));
  });
}
