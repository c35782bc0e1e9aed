import { QmError } from "../../base/errors.ts";
import { blockBytes, isSlotCount } from "./record.ts";
import { maxDisks } from "./writer-program.ts";

export interface WitnessOptions {
  /** Device names inside the guest, in the order of writing: `vda`, `vdb` for virtio, `sda` for virtio-scsi. */
  readonly disks: readonly string[];
  /** Tells this run's records from those of earlier runs: 0 to 2^63 - 1. */
  readonly run: bigint;
  /** How many records fit on a disk before the oldest are overwritten: {@link defaultSlots}. */
  readonly slots?: number;
  /** Where the first slot begins on each disk; a multiple of 4096. Default 0. */
  readonly offsetBytes?: number;
  /** Pause after each write. Default 0. */
  readonly intervalUs?: number;
  /** The guest powers off after this record is on every disk. Default: it never does. */
  readonly count?: number;
}

/** 64 MiB on each disk. */
export const defaultSlots = 16384;

/**
 * The kernel command line of a witness guest, for QEMU's `-append`. The guest's first serial port becomes its console.
 * Throws `QM_INVALID` for a value that the guest cannot use.
 */
export function formatWitnessCmdline(options: WitnessOptions): string {
  const { disks, run, slots = defaultSlots, offsetBytes = 0, intervalUs = 0, count = 0 } = options;
  if (disks.length === 0 || disks.length > maxDisks || !disks.every((disk) => /^[a-z]+$/.test(disk))) {
    throw new QmError("QM_INVALID", { reason: `witness disks '${disks.join(",")}'` });
  }
  if (run < 0n || run >= 2n ** 63n) throw new QmError("QM_INVALID", { reason: `witness run ${run}` });
  if (!isSlotCount(slots))
    throw new QmError("QM_INVALID", { reason: `witness slots ${slots}: a multiple of 17, or not a count` });
  const numbers = { offsetBytes, intervalUs, count };
  for (const [name, value] of Object.entries(numbers)) {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new QmError("QM_INVALID", { reason: `witness ${name} ${value}` });
  }
  if (offsetBytes % blockBytes !== 0)
    throw new QmError("QM_INVALID", { reason: `witness offset ${offsetBytes}: not whole blocks` });
  return [
    // loglevel: the kernel must not write into the middle of a report
    "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off no_timer_check cryptomgr.notests",
    `witness.disks=${disks.join(",")} witness.run=${run.toString(16)} witness.slots=${slots}`,
    `witness.offset=${offsetBytes} witness.interval_us=${intervalUs} witness.count=${count}`,
  ].join(" ");
}
