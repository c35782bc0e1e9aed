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
  readonly error?: ErrorBody;
  /** What it ended with: see the operation's kind in docs/reference/http.md. */
  readonly result?: Readonly<Record<string, unknown>>;
}
