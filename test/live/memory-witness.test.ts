/** A guest that writes is saved and brought back: it goes on in the middle of its work, on the same disks. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { saveMemory } from "../../src/qemu/memory-stream.ts";
import { requireMonitor } from "../../src/service/domain-entry.ts";
import { machineOf } from "../../src/service/machine.ts";
import { prepareSave, restoreDomain } from "../../src/service/save-restore.ts";
import { checkImages } from "../../src/testing/witness/check-images.ts";
import { followSerial, readSerialLog } from "../../src/testing/witness/serial-log.ts";
import { makeWitnessDomain } from "../../src/testing/witness/witness-domain.ts";
import { VerbsRig } from "./verbs-rig.ts";
import { assertNothingLost, bootLimitMs, cacheDir } from "./witness-rig.ts";

const [run, slots] = [0x5eedn, 4096];

let rig: VerbsRig;
beforeEach(() => {
  rig = new VerbsRig();
});
afterEach(() => rig.close());

test("a writing guest is saved, live and stopped, and goes on with the record after the last", async () => {
  const witness = await makeWitnessDomain({
    name: "witness",
    directory: rig.directory,
    cacheDir,
    run,
    slots,
    sizeBytes: 20 * 1024 * 1024,
    disks: 2,
    intervalUs: 2000,
  });
  const awaitWrites = async (count: number): Promise<void> => {
    const before = await readSerialLog(witness.serial);
    await followSerial(witness.serial, before.writes.length + count, AbortSignal.timeout(bootLimitMs));
  };
  let entry = await rig.start(witness.xml);
  await awaitWrites(20);

  for (const live of [true, false]) {
    const { path, xml, afterwards } = await prepareSave(rig.deps, entry, { file: rig.path(`memory-${live}`) });
    const machine = machineOf(rig.deps, entry);
    const socketPath = machine.socketPath("memory.sock");
    await saveMemory(requireMonitor(entry), { path, xml, socketPath, afterwards, live });
    await machine.stop();
    const saved = await readSerialLog(witness.serial);
    entry = await restoreDomain(rig.deps, { file: path });
    await awaitWrites(20);
    const resumed = await readSerialLog(witness.serial);
    // Not booted again: the records follow each other without a gap or a repetition, one on each disk in turn.
    const records = resumed.writes.slice(saved.writes.length - 1).map(({ sequence, disk }) => sequence * 2 + disk);
    const [last = 0] = records;
    assert.deepEqual(
      records,
      records.map((_, index) => last + index),
    );
  }

  await rig.lifecycle.destroy(entry);
  const { acknowledged } = await readSerialLog(witness.serial);
  const { images, offsetBytes } = witness;
  assertNothingLost(await checkImages({ images, run, slots, offsetBytes, pattern: true, acknowledged }));
});
