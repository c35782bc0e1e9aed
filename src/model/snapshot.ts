/** libvirt's `<domainsnapshot>` with qmirror's `<mirror>`: see docs/reference/xml-snapshot.md. */
import type { DomainDefinition } from "./domain.ts";
import type { ImageRef } from "./image.ts";
import type { DiskMirror } from "./mirror.ts";

export { mirrorStates, type DiskMirror, type MirrorState } from "./mirror.ts";

export const diskSnapshotKinds = ["no", "internal", "external", "manual"] as const;
/** `manual`: the user takes care of it outside of qmirror. */
export type DiskSnapshotKind = (typeof diskSnapshotKinds)[number];

export const snapshotStates = ["disk-snapshot", "running", "paused", "shutoff"] as const;
/** What the domain did when the snapshot was taken; `disk-snapshot`: it ran, and its memory was not kept. */
export type SnapshotState = (typeof snapshotStates)[number];

export const memoryKinds = ["no", "internal", "external"] as const;

export interface SnapshotMemory {
  readonly snapshot: (typeof memoryKinds)[number];
  /** Absolute path, for `external`. In a request it may be absent: a name is generated then. */
  readonly file?: string;
}

/** What a user asks for: `<domainsnapshot>` as read, before it is aligned with the domain. */
export interface SnapshotRequest {
  readonly name?: string;
  readonly description?: string;
  readonly memory?: SnapshotMemory;
  readonly disks: readonly SnapshotDiskRequest[];
}

export interface SnapshotDiskRequest {
  /** The disk's target name, or the path of its active image (libvirt allows both). */
  readonly name: string;
  /** Absent: the domain's default applies. */
  readonly snapshot?: DiskSnapshotKind;
  /** The overlay. Absent path: generated from the source's path and the snapshot's name. */
  readonly source?: { readonly path: string; readonly type: "file" | "block" };
  readonly format?: "qcow2";
  readonly mirror?: { readonly path: string; readonly type: "file" | "block"; readonly format?: "qcow2" };
}

/** A snapshot that exists. */
export interface Snapshot {
  readonly name: string;
  readonly description?: string;
  readonly parent?: string;
  /** Seconds since 1970, as libvirt has it. */
  readonly creationTime: number;
  readonly state: SnapshotState;
  /** Absent: `no`. */
  readonly memory?: SnapshotMemory;
  readonly domainUuid: string;
  readonly domainName: string;
  readonly disks: readonly SnapshotDisk[];
  /** The whole `<cookie>` element as XML: another program's notes, kept and given back. */
  readonly cookie?: string;
}

/** The domain as it was when the snapshot was taken. Kept beside the snapshot: lists do not need it. */
export interface SnapshotConfig {
  /** What it ran with, or would have been started with. */
  readonly domain: DomainDefinition;
  /** The definition for the next start, where that differed. */
  readonly inactiveDomain?: DomainDefinition;
}

export interface SnapshotDisk {
  readonly target: string;
  readonly snapshot: DiskSnapshotKind;
  /** The overlay that became active when the snapshot was taken; for `external` only. */
  readonly source?: ImageRef;
  /** The snapshot's data: what was active before, for `external`; the image that holds the internal snapshot. */
  readonly base?: ImageRef;
  readonly mirror?: DiskMirror;
}
