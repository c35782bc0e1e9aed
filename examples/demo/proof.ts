/** Reads the images that the demo left, and judges them. */
import { dirname } from "node:path";
import type { DiskView } from "../../src/api-types/index.ts";
import { checkImages, type WitnessImage } from "../../src/testing/witness/check-images.ts";
import { readSerialLog } from "../../src/testing/witness/serial-log.ts";
import type { WitnessDomain } from "../../src/testing/witness/witness-domain.ts";

export interface Proof {
  readonly acknowledgedWrites: number;
  /** Acknowledged records that are missing or damaged on the target. */
  readonly lostWrites: number;
  /** Blocks that the guest never wrote and that changed all the same. */
  readonly damagedBlocks: number;
  /** The snapshot shows all disks at one instant, and so does the target. */
  readonly instantConsistent: boolean;
  /** Every image of every disk's chain is in the target directory. */
  readonly allOnTarget: boolean;
}

export interface Evidence {
  readonly witness: WitnessDomain;
  readonly run: bigint;
  readonly slots: number;
  readonly target: string;
  /** As they were when the guest ended. */
  readonly disks: readonly DiskView[];
  readonly signal: AbortSignal;
}

/** The guest must have ended. The old images must still be there: they are the snapshot, as the snapshot's instant left them. */
export async function proveMove(evidence: Evidence): Promise<Proof> {
  const { witness, run, slots, target, disks, signal } = evidence;
  const { acknowledged, writes } = await readSerialLog(witness.serial);
  const active = disks.map((disk, index): WitnessImage => {
    const image = disk.chain[0];
    if (image === undefined) throw new Error(`${disk.target} has no image`);
    return { disk: index, path: image.path, format: "qcow2" };
  });
  const common = { run, slots, offsetBytes: witness.offsetBytes, pattern: true, signal };
  const moved = await checkImages({ ...common, images: active, acknowledged });
  const snapshot = await checkImages({ ...common, images: witness.images });
  return {
    acknowledgedWrites: writes.length,
    lostWrites: moved.missing + moved.corrupt,
    damagedBlocks: moved.patternDamaged + snapshot.patternDamaged + snapshot.corrupt,
    instantConsistent: snapshot.instantConsistent && moved.instantConsistent,
    allOnTarget: disks.every(({ chain }) => chain.every(({ path }) => dirname(path) === target)),
  };
}
