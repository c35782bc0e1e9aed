import type { ErrorBody } from "./errors.ts";

export const operationKinds = [
  "snapshot-create",
  "pivot",
  "abort",
  "migrate-storage",
  "clone-storage",
  "mirror-restart",
  "snapshot-delete",
  "snapshot-revert",
  "save",
  "restore",
  "block-copy",
  "block-copy-end",
  "block-commit",
  "block-pull",
] as const;
export type OperationKind = (typeof operationKinds)[number];

export const operationStates = ["running", "succeeded", "failed", "cancelled"] as const;
export type OperationState = (typeof operationStates)[number];

export interface DiskProgress {
  readonly target: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** A mirror, copy or merge that does not come nearer to its end, with what it does and what the guest does to its disk. */
export interface SlowJob {
  readonly target: string;
  readonly leftBytes: number;
  readonly jobBytesPerS: number;
  readonly guestWriteBytesPerS: number;
}

/** What holds an operation up. It goes on by itself when that ends; it can be cancelled. */
export type OperationStall = {
  /** For people. */
  readonly text: string;
  /** ISO 8601. */
  readonly since: string;
} & (
  | {
      /** QEMU does not answer: it hangs, or was stopped. */
      readonly kind: "no-answer";
      readonly command: string;
      /** The disk that the command is about, where it is about one. */
      readonly target?: string;
    }
  | { readonly kind: "not-converging"; readonly disks: readonly SlowJob[] }
);

export interface OperationView {
  readonly id: string;
  readonly kind: OperationKind;
  readonly domain: string;
  readonly state: OperationState;
  /** The step that it is in, or was in when it ended: `copy`, `verify`, `prepare-pivot`, … */
  readonly step: string;
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly progress: readonly DiskProgress[];
  /** Measured over the last seconds. */
  readonly bytesPerS?: number;
  /** Estimated; absent when there is nothing to estimate from. */
  readonly secondsLeft?: number;
  /** Absent: nothing holds it up. */
  readonly stall?: OperationStall;
  readonly error?: ErrorBody;
  /** What it ended with: see the operation's kind in docs/reference/http.md. */
  readonly result?: Readonly<Record<string, unknown>>;
}
