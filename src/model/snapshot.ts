/** libvirt's `<domainsnapshot>` with qmirror's `<mirror>`: see docs/reference/xml.md. */
import type { ImageRef } from "./image.ts";

export const mirrorStates = ["starting", "ready", "broken", "lost"] as const;
/** `broken`: the mirror ended by itself, the guest goes on on its source. `lost`: QEMU ended. */
export type MirrorState = (typeof mirrorStates)[number];

export interface DiskMirror {
  readonly target: ImageRef;
  readonly state: MirrorState;
  /** QEMU's words, for `broken` and `lost`. */
  readonly reason?: string;
}

/** What a user asks for: `<domainsnapshot>` as read, before it is aligned with the domain. */
export interface SnapshotRequest {
  readonly name?: string;
  readonly description?: string;
  readonly disks: readonly SnapshotDiskRequest[];
}

export interface SnapshotDiskRequest {
  /** The disk's target name, or the path of its active image (libvirt allows both). */
  readonly name: string;
  /** Absent: external when the domain's default applies. */
  readonly snapshot?: "no" | "external";
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
  /** The domain's state at that moment. */
  readonly state: "disk-snapshot";
  readonly domainUuid: string;
  readonly domainName: string;
  readonly disks: readonly SnapshotDisk[];
}

export interface SnapshotDisk {
  readonly target: string;
  readonly snapshot: "no" | "external";
  /** The overlay that became active when the snapshot was taken; absent for `no`. */
  readonly source?: ImageRef;
  /** What was active before: the snapshot's data. */
  readonly base?: ImageRef;
  readonly mirror?: DiskMirror;
}
