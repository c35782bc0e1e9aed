/** Judges the images of a witness guest: is every acknowledged write there, is nothing else damaged, do the disks fit together? */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { QmError } from "../../base/errors.ts";
import { convertImage, readBlocks } from "./images.ts";
import { blockBytes, buildPatternBlock, isSlotCount, readRecord, slotOfRecord } from "./record.ts";

export interface WitnessImage {
  /** Index into the disks of the command line. */
  readonly disk: number;
  readonly path: string;
  readonly format: "qcow2" | "raw";
}

export interface WitnessCheck {
  /** The active image of each disk; backing files are followed. No QEMU may write to them. */
  readonly images: readonly WitnessImage[];
  readonly run: bigint;
  readonly slots: number;
  readonly offsetBytes?: number;
  /** The last sequence number of each disk that must be there, as in `WitnessReport.acknowledged`; absent: none. */
  readonly acknowledged?: ReadonlyMap<number, number>;
  /** True when `fillPattern` made the disks (at the bottom of their chains): then every other block is checked too. */
  readonly pattern: boolean;
  readonly signal?: AbortSignal;
}

export interface WitnessVerdict {
  /** Acknowledged records that are not there, over all disks. A record that a later one overwrote is there. */
  readonly missing: number;
  /** Blocks that begin as a record of this run but are torn, or of another disk, or in another place. */
  readonly corrupt: number;
  /** Blocks without a record whose pattern is gone; 0 when there is no pattern. */
  readonly patternDamaged: number;
  /**
   * True when the disks show one instant. The guest writes in one total order, (1, disk 0), (1, disk 1), … (2, disk 0), and starts a
   * write only when the one before is durable: what one instant holds is a beginning of that order. So no disk has
   * a gap, no disk is ahead of the disk before it, and the last is at most one record behind the first.
   */
  readonly instantConsistent: boolean;
  /** The last record of each disk; 0: it has none. */
  readonly lastSequence: ReadonlyMap<number, number>;
}

/**
 * Reads every image as the guest would (copied to a temporary raw file, which is removed) and compares. Records that
 * were written but not acknowledged may be there. Blocks of 4096 bytes are taken to be written whole or not at all, as they are when
 * QEMU is killed. Throws `QM_INVALID` for a wrong slot count, `QM_IMAGE_TOOL` when an image cannot be read.
 */
export async function checkImages(check: WitnessCheck): Promise<WitnessVerdict> {
  if (!isSlotCount(check.slots)) throw new QmError("QM_INVALID", { reason: `witness slots ${check.slots}` });
  const directory = await mkdtemp(join(tmpdir(), "qmirror-witness-"));
  try {
    const disks: DiskVerdict[] = [];
    for (const image of [...check.images].sort((a, b) => a.disk - b.disk)) {
      const raw = join(directory, String(image.disk));
      await convertImage(image, { path: raw, format: "raw" }, check.signal);
      disks.push(judgeDisk(await scanDisk(raw, image.disk, check), image.disk, check));
      await rm(raw);
    }
    return {
      missing: sum(disks.map((disk) => disk.missing)),
      corrupt: sum(disks.map((disk) => disk.corrupt)),
      patternDamaged: sum(disks.map((disk) => disk.patternDamaged)),
      instantConsistent: showOneInstant(disks),
      lastSequence: new Map(disks.map((disk) => [disk.disk, disk.last])),
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

interface DiskScan {
  /** Slot to the sequence number of its record. */
  readonly records: ReadonlyMap<number, number>;
  /** Slots, and the number of blocks outside the slots, that hold neither a record nor the pattern. */
  readonly damagedSlots: ReadonlySet<number>;
  readonly damagedElsewhere: number;
  readonly corrupt: number;
}

async function scanDisk(raw: string, disk: number, check: WitnessCheck): Promise<DiskScan> {
  const firstBlock = (check.offsetBytes ?? 0) / blockBytes;
  const records = new Map<number, number>();
  const damagedSlots = new Set<number>();
  let [damagedElsewhere, corrupt] = [0, 0];
  for await (const { number, bytes } of readBlocks(raw)) {
    const slot = number - firstBlock;
    const content = readRecord(bytes, check.run, disk);
    if (content === "other") {
      if (!check.pattern || bytes.equals(buildPatternBlock(number, disk))) continue;
      if (slot >= 0 && slot < check.slots) damagedSlots.add(slot);
      else damagedElsewhere++;
    } else if (content === "corrupt" || slotOfRecord(content.sequence, check.slots) !== slot) corrupt++;
    else records.set(slot, content.sequence);
  }
  return { records, damagedSlots, damagedElsewhere, corrupt };
}

interface DiskVerdict {
  readonly disk: number;
  readonly last: number;
  readonly missing: number;
  /** A record older than the last one is not there. */
  readonly gap: boolean;
  readonly corrupt: number;
  readonly patternDamaged: number;
}

function judgeDisk(scan: DiskScan, disk: number, check: WitnessCheck): DiskVerdict {
  const last = [...scan.records.values()].reduce((a, b) => Math.max(a, b), 0);
  const acknowledged = check.acknowledged?.get(disk) ?? 0;
  const end = Math.max(last, acknowledged);
  const damagedSlots = new Set(scan.damagedSlots);
  let [missing, gap] = [0, false];
  for (let sequence = Math.max(1, end - check.slots + 1); sequence <= end; sequence++) {
    const slot = slotOfRecord(sequence, check.slots);
    // A slot that must hold a record is missing it, whatever it holds instead
    damagedSlots.delete(slot);
    if (scan.records.get(slot) === sequence) continue;
    if (sequence <= acknowledged) missing++;
    if (sequence < last) gap = true;
  }
  const patternDamaged = damagedSlots.size + scan.damagedElsewhere;
  return { disk, last, missing, gap, corrupt: scan.corrupt, patternDamaged };
}

function showOneInstant(disks: readonly DiskVerdict[]): boolean {
  const lasts = disks.map((disk) => disk.last);
  const descending = lasts.every((last, index) => index === 0 || last <= (lasts[index - 1] ?? 0));
  return descending && (lasts[0] ?? 0) - (lasts.at(-1) ?? 0) <= 1 && !disks.some((disk) => disk.gap);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
