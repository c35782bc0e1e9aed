/**
 * What travels between the daemon and its clients as JSON. Imports nothing, so that a browser can use it.
 * Sizes are bytes, times ISO 8601 in UTC, unless a name says otherwise.
 */
import type { ErrorBody } from "./errors.ts";

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

export type * from "./block-verbs.ts";
export type * from "./domain-verbs.ts";
export type * from "./domains.ts";
export type * from "./errors.ts";
export * from "./operations.ts";
export type * from "./recovery.ts";
export type * from "./snapshots.ts";
export type * from "./storage-moves.ts";

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

export interface SpeedBody {
  readonly bytesPerS: number;
}

export interface DoctorCheck {
  readonly name: string;
  readonly verdict: "ok" | "warning" | "failed";
  readonly detail: string;
  readonly next?: string;
}
