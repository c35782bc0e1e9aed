/** What a run may find wrong; each of these must be found in no run. */
export const failureKinds = [
  "acknowledged writes lost",
  "disks split between sides",
  "damaged images",
  "leftovers",
  "no final answer",
  "definition differs from the truth",
  "snapshots that changed",
  "other",
] as const;
export type FailureKind = (typeof failureKinds)[number];

export interface Failure {
  readonly kind: FailureKind;
  readonly what: string;
}

export type Blame = (kind: FailureKind, what: string) => void;
