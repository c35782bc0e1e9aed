/**
 * What travels between the daemon and its clients as JSON. Imports nothing, so that a browser can use it.
 * Sizes are bytes, times ISO 8601 in UTC, unless a name says otherwise.
 */

export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** What to do next. */
  readonly next?: string;
}

/** A line of a stream that failed after it had begun; the stream ends with it. */
export interface StreamErrorLine {
  readonly streamError: ErrorBody;
}

export interface VersionView {
  /** The daemon's. */
  readonly version: string;
  /** The first part of every path. */
  readonly api: "v1";
}

export interface XmlView {
  readonly xml: string;
}

export type DomainState = "running" | "paused" | "shut off" | "crashed";

export interface DomainView {
  readonly name: string;
  readonly uuid: string;
  /** Number of this run, as in `virsh list`; null when it is not running. */
  readonly id: number | null;
  readonly state: DomainState;
  readonly persistent: boolean;
  /** Started by somebody else and attached. */
  readonly adopted: boolean;
  /** Id of the operation that is under way. */
  readonly operation?: string;
  /** Name of the mirrored snapshot that it has. */
  readonly mirroredSnapshot?: string;
}

export interface ImageView {
  readonly type: "file" | "block";
  readonly path: string;
  readonly format: string;
}

export interface MirrorView extends ImageView {
  readonly state: "starting" | "ready" | "broken" | "lost";
  readonly reason?: string;
}

export interface DiskView {
  readonly target: string;
  readonly device: "disk" | "cdrom";
  readonly readonly: boolean;
  /** The active image first; empty for an empty cdrom. */
  readonly chain: readonly ImageView[];
  readonly sizeBytes?: number;
  readonly mirror?: MirrorView;
}

export interface SnapshotView {
  readonly name: string;
  readonly description?: string;
  readonly parent?: string;
  readonly creationTime: string;
  readonly state: "disk-snapshot";
  readonly current: boolean;
  /** True while it has mirrors. */
  readonly mirrored: boolean;
  readonly disks: readonly {
    readonly target: string;
    readonly snapshot: "no" | "external";
    readonly source?: ImageView;
    readonly mirror?: MirrorView;
  }[];
}

export const operationKinds = [
  "snapshot-create",
  "pivot",
  "abort",
  "migrate-storage",
  "clone-storage",
  "mirror-restart",
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

export interface EventView {
  /** Increases by one with every event of this daemon's state file. */
  readonly seq: number;
  readonly at: string;
  readonly domain: string;
  readonly type: "lifecycle" | "operation" | "snapshot" | "mirror" | "block-job";
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface DefineBody {
  readonly xml: string;
}

export interface AttachBody {
  /** Path of the QMP socket of a running QEMU. */
  readonly qmp: string;
  /** Absent: QEMU's own `-name`, or its uuid. */
  readonly name?: string;
}

export interface SnapshotCreateBody {
  /** A `<domainsnapshot>`; excludes the other fields that describe the snapshot. */
  readonly xml?: string;
  readonly name?: string;
  readonly description?: string;
  /** virsh's `--diskspec` strings. */
  readonly diskspecs?: readonly string[];
  readonly reuseExternal?: boolean;
  /** Describe what would be done, and do nothing. */
  readonly printXml?: boolean;
  /** Limits each mirror's copying of older data; 0 or absent: no limit. */
  readonly bytesPerS?: number;
}

export interface SnapshotCreatedView {
  /** Absent with `printXml`. */
  readonly snapshot?: SnapshotView;
  readonly xml: string;
  readonly operation?: OperationView;
}

export interface SnapshotDeleteBody {
  readonly mirror: "pivot" | "abort";
}

export interface MigrateBody {
  /** Absolute path of an existing directory. */
  readonly to: string;
  /** Targets; absent: every writable disk. */
  readonly disks?: readonly string[];
  readonly flatten?: boolean;
  readonly verify?: boolean;
  readonly bytesPerS?: number;
  readonly keepSource?: boolean;
}

export interface CloneBody {
  readonly to: string;
  readonly disks?: readonly string[];
  readonly flatten?: boolean;
  readonly verify?: boolean;
  readonly bytesPerS?: number;
}

export interface SpeedBody {
  readonly bytesPerS: number;
}

export interface DoctorCheck {
  readonly name: string;
  readonly verdict: "ok" | "warning" | "failed";
  readonly detail: string;
  readonly next?: string;
}
