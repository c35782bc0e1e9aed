import type { OperationView } from "./operations.ts";

/** What did not come to its end by itself: see docs/guide/when-things-go-wrong.md. */
export interface RecoveryView {
  /** Every operation without an end, newest first. */
  readonly operations: readonly UnfinishedOperation[];
  readonly findings: readonly RecoveryFinding[];
  /** Transient domains whose QEMU has ended, newest first: qmirror keeps the last 100. */
  readonly departed: readonly DepartedDomain[];
  /** What was ended by applying the actions. */
  readonly applied: readonly OperationView[];
}

export interface UnfinishedOperation {
  readonly operation: string;
  readonly kind: string;
  /** Its uuid where qmirror does not know the domain any more. */
  readonly domain: string;
  readonly startedAt: string;
  readonly journal: JournalSays;
  readonly qemu: QemuSays;
  /** Images that hold every write which the guest was told is safe. */
  readonly truth: readonly DiskTruth[];
  readonly action: RecoveryAction;
}

export interface JournalSays {
  /** The last step whose intent is on disk. */
  readonly step: string;
  /** The last fact, which decides what is true; absent: nothing was decided. */
  readonly decision?: string;
  /** It is being undone. */
  readonly undoing: boolean;
  readonly records: readonly { readonly at: string; readonly kind: string; readonly data: unknown }[];
}

export interface QemuSays {
  /** `stopped`: by a signal or a debugger, as `ps` shows T. `gone`: it has ended. `none`: the domain did not run. */
  readonly process: "running" | "stopped" | "gone" | "none";
  readonly pid?: number;
  readonly monitor: "connected" | "silent" | "none";
  readonly disks: readonly { readonly target: string; readonly active: string }[];
  readonly jobs: readonly { readonly id: string; readonly status: string; readonly error?: string }[];
}

export interface DiskTruth {
  readonly target: string;
  readonly path: string;
}

export interface RecoveryAction {
  /** `wait`: qmirrord is at it, or waits for QEMU. `recover`, `end`: done when it is applied. */
  readonly kind: "wait" | "recover" | "end";
  readonly text: string;
}

/** Something that an operation which has ended left behind. qmirror does not touch it by itself. */
export interface RecoveryFinding {
  readonly what: "unrecovered" | "split" | "files" | "deleting" | "mirrors";
  readonly domain: string;
  readonly text: string;
  readonly paths: readonly string[];
  /** What to do next. */
  readonly next: string;
}

export interface DepartedDomain {
  readonly name: string;
  readonly uuid: string;
  readonly endedAt: string;
  /** Its last definition, with the images that hold its data: `create` runs it. */
  readonly xml: string;
  readonly disks: readonly DiskTruth[];
  /** Mirrors that it had: nobody knows whether they have the last writes. */
  readonly mirrors: readonly string[];
}

export interface RecoverBody {
  /** Absent: every domain. */
  readonly domain?: string;
}
