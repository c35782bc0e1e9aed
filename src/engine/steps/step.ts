/** What a step is, and what it may use. */
import type { Machine } from "./machine.ts";
import type { Monitor } from "../../qemu/monitor.ts";
import type { MirrorDialect } from "../../qemu/mirror-dialect/dialect.ts";
import type { StepName, StoragePlan } from "./storage-plan.ts";

/**
 * Facts that change which images are the truth. Recording one is one durable write, together with what it means for the
 * domain's definition and its snapshots.
 * - `snapshot-taken`: the overlays are active.
 * - `mirrored`: every mirror is ready.
 * - `pivot`: the mirrors are the truth (the commit point of a pivot).
 * - `merged`: the mirrors were merged into their backing images, which are the truth.
 * - `clone`: the mirrors are a finished copy; the source stays the truth.
 * - `mirrors-ended`: there are no mirrors any more; the overlays are the truth.
 * - `commit-back`: the bases are the truth again.
 */
export const facts = [
  "snapshot-taken",
  "mirrored",
  "pivot",
  "merged",
  "clone",
  "mirrors-ended",
  "commit-back",
] as const;
export type Fact = (typeof facts)[number];

export interface OperationJournal {
  /** Durable when it returns. `left` names disks that a fact does not hold for; a record of that kind says so for good. */
  establish(fact: Fact, left?: readonly string[]): void;
  /** Durable when it returns. */
  record(kind: string, data: unknown): void;
  /** Whether such a record is there; of any data when that is left out. */
  has(kind: string, data?: unknown): boolean;
}

export interface StepContext {
  readonly plan: StoragePlan;
  readonly monitor: Monitor;
  readonly machine: Machine;
  readonly dialect: MirrorDialect;
  readonly journal: OperationJournal;
  /** Aborted when the user cancels; undoing gets one that never is. */
  readonly signal: AbortSignal;
  /** Bytes per second for copying now; 0: no limit. */
  readonly bytesPerS: () => number;
  readonly reportProgress: (disk: string, doneBytes: number, totalBytes: number) => void;
}

export interface Step {
  readonly name: StepName;
  /** Whether its intent has to be on disk before it acts. False where recovery does it again from an earlier record. */
  readonly journalled: boolean;
  /** Acts. When it rejects it may have acted in part: `undo` copes with that. */
  act(context: StepContext): Promise<void>;
  /** Takes back what `act` did, in whole or in part, by looking at what is there. Absent: nothing to take back. */
  undo?(context: StepContext): Promise<void>;
  /** Nothing rests on what it did and the guest waits for its undo: undone before all others, and whether or not they can be. */
  readonly undoneFirst?: true;
}
