/**
 * A plan made of tasks with arguments, for what is not one thing done to all disks at once: merging layers, going back, snapshots
 * of domains that do not run. Plain JSON: it is journalled as it is, and recovery needs nothing else.
 *
 * Every task looks before it acts and can be repeated after any crash, with QEMU alive or dead. Up to and including the task that
 * decides, all are undone when one fails; after it the plan only goes forward.
 */
import type { DomainDefinition } from "../../model/domain.ts";
import type { ImageRef } from "../../model/image.ts";
import type { Snapshot, SnapshotConfig } from "../../model/snapshot.ts";
import type { DiskCopy } from "../../qemu/block-copy.ts";

export type { DiskCopy };

export interface TaskPlan {
  readonly family: "tasks";
  /** The operation's id. */
  readonly id: string;
  readonly domain: { readonly uuid: string; readonly name: string };
  readonly tasks: readonly Task[];
  /** Index of the first task that is not undone any more, once it is done. */
  readonly decidedAt: number;
  /** Whether the operation can be cancelled after the decision: what is done stays, and it can be asked for again. */
  readonly stoppable: boolean;
  readonly options: { readonly bytesPerS: number };
  /** What the operation's view shows as its result, besides the truth. */
  readonly result?: Readonly<Record<string, unknown>>;
}

export type Task =
  | CreateOverlay
  | CopyImage
  | InternalOffline
  | InternalLive
  | SaveMemory
  | Establish
  | MergeDown
  | PullUp
  | DeleteInternal
  | ApplyInternal
  | RemoveFile
  | StopMachine
  | StartMachine
  | LoadInternal
  | ResumeGuest
  | StartCopy
  | HoldCopy
  | FinishCopy
  | EndCopy;

export type TaskName = Task["task"];

/** A new empty qcow2 that stands on `backing`. */
export interface CreateOverlay {
  readonly task: "create-overlay";
  readonly disk: string;
  readonly image: ImageRef;
  readonly backing: ImageRef;
  readonly sizeBytes: number;
  /** Owner and mode are taken from this image. */
  readonly like: string;
  /** It is there already, made by the user for this: it is used as it is and never removed. */
  readonly reuse: boolean;
}

/** The layer `from` alone as a new file, its internal snapshots too; of those only `keepTag` stays, or the state of `applyTag` becomes its present one. */
export interface CopyImage {
  readonly task: "copy-image";
  readonly disk: string;
  readonly from: ImageRef;
  readonly to: ImageRef;
  readonly backing?: ImageRef;
  readonly sizeBytes: number;
  readonly applyTag?: string;
  readonly keepTag?: string;
}

/** An internal snapshot in an image that no QEMU has open. */
export interface InternalOffline {
  readonly task: "internal-offline";
  readonly disk: string;
  readonly image: ImageRef;
  readonly tag: string;
}

/** Internal snapshots in all disks of a running QEMU at one instant, with its memory in the first of them. */
export interface InternalLive {
  readonly task: "internal-live";
  readonly disks: readonly { readonly disk: string; readonly image: ImageRef }[];
  readonly tag: string;
  readonly jobId: string;
}

/** The guest's memory in a file; the guest stands still afterwards. */
export interface SaveMemory {
  readonly task: "save-memory";
  readonly path: string;
  readonly xml: string;
  readonly live: boolean;
  /** It ran before: undoing lets it run again. */
  readonly wasRunning: boolean;
  /** What the guest does once the file is loaded. */
  readonly afterwards: "running" | "paused";
}

/** Makes `change` true, durably. */
export interface Establish {
  readonly task: "establish";
  readonly change: TruthChange;
}

/**
 * Writes `top` into `base`, which it stands on, and lets everything that stood on `top` stand on `base`. `change` is established in
 * the moment from which `base` is what `top` was.
 */
export interface MergeDown {
  readonly task: "merge-down";
  readonly disk: string;
  readonly top: ImageRef;
  readonly base: ImageRef;
  /** Images that stand on `top`. */
  readonly above: readonly ImageRef[];
  readonly bytes: number;
  readonly jobId: string;
  readonly change: TruthChange;
  /** What is true again where QEMU refuses the merge after `change` was established. */
  readonly takenBack: TruthChange;
}

/** Copies the data of the layers `from` into `top`, which stands on the first of them; `top` stands on `backing` afterwards. */
export interface PullUp {
  readonly task: "pull-up";
  readonly disk: string;
  readonly top: ImageRef;
  /** Nearest to `top` first. */
  readonly from: readonly [ImageRef, ...ImageRef[]];
  readonly backing?: ImageRef;
  readonly bytes: number;
  readonly jobId: string;
  readonly change: TruthChange;
}

export interface DeleteInternal {
  readonly task: "delete-internal";
  readonly disks: readonly {
    readonly disk: string;
    readonly image: ImageRef;
    /** How the guest opens it; absent: `ignore`. */
    readonly discard?: "ignore" | "unmap";
  }[];
  readonly tag: string;
  readonly jobId: string;
}

/** The image shows what its internal snapshot holds. No QEMU has it open. */
export interface ApplyInternal {
  readonly task: "apply-internal";
  readonly disk: string;
  readonly image: ImageRef;
  readonly tag: string;
}

/** Removes a file that nothing refers to any more. Block devices and network images stay. */
export interface RemoveFile {
  readonly task: "remove-file";
  readonly disk: string;
  readonly image: ImageRef;
  /** The job that merged it, where one did: it may hold the image open. */
  readonly jobId?: string;
}

export interface StopMachine {
  readonly task: "stop-machine";
}

/** Starts QEMU, standing still. */
export interface StartMachine {
  readonly task: "start-machine";
  readonly definition: DomainDefinition;
  readonly memoryFile?: string;
}

/** Loads disks and memory of an internal snapshot into a QEMU that stands still; one that has ended is started again. */
export interface LoadInternal {
  readonly task: "load-internal";
  readonly definition: DomainDefinition;
  readonly disks: readonly { readonly disk: string; readonly image: ImageRef }[];
  readonly tag: string;
  readonly jobId: string;
}

export interface ResumeGuest {
  readonly task: "resume-guest";
}

/** Makes the destination of a copy, and copies until both sides are equal. */
export interface StartCopy {
  readonly task: "start-copy";
  readonly disk: string;
  readonly copy: DiskCopy;
  /** What the destination is before: `file` is an empty one, `reused` is used as it is. */
  readonly found: "missing" | "file" | "block" | "reused";
  /** Named in the header of a new image. */
  readonly backing?: ImageRef;
  readonly sizeBytes: number;
}

/** Holds a ready copy for its pivot. Undoing it ends the copy. */
export interface HoldCopy {
  readonly task: "hold-copy";
  readonly disk: string;
  readonly copy: DiskCopy;
  readonly timeoutMs: number;
}

/** Switches the guest to the held copy. */
export interface FinishCopy {
  readonly task: "finish-copy";
  readonly disk: string;
  readonly copy: DiskCopy;
}

/** Ends a copy with the guest on its source. */
export interface EndCopy {
  readonly task: "end-copy";
  readonly disk: string;
  readonly copy: DiskCopy;
}

/** What becomes true of the domain, in one durable write. Applying it twice is the same as once. */
export interface TruthChange {
  /** Active images, in the live and the persistent definition, where they name `from`. */
  readonly images?: readonly { readonly disk: string; readonly from: string; readonly to: ImageRef }[];
  /** The definition of the next start, as a whole. */
  readonly definition?: DomainDefinition;
  readonly snapshots?: readonly SnapshotChange[];
  readonly removedSnapshots?: readonly string[];
  /** The current snapshot; null: none. Absent: as it was. */
  readonly current?: string | null;
  readonly layers?: readonly { readonly disk: string; readonly image: ImageRef; readonly reason: string }[];
  /** Paths. */
  readonly forgottenLayers?: readonly string[];
  /** Copies that follow their disks from now on. */
  readonly copies?: readonly DiskCopy[];
  /** Disks. */
  readonly endedCopies?: readonly string[];
}

export interface SnapshotChange {
  readonly document: Snapshot;
  readonly deleting: boolean;
  /** Absent: as it was. */
  readonly config?: SnapshotConfig;
}

/** A task's name for people and for the journal: `2 merge-down vda`. */
export function labelOf(plan: TaskPlan, index: number): string {
  const task = plan.tasks[index];
  if (task === undefined) return `${index} end`;
  return `${index} ${task.task}${"disk" in task ? ` ${task.disk}` : ""}`;
}
