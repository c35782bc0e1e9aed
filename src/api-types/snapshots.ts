import type { ImageView, MirrorView } from "./domains.ts";
import type { OperationView } from "./operations.ts";

/** What the domain did when the snapshot was taken; `disk-snapshot`: it ran, and its memory was not kept. */
export type SnapshotState = "disk-snapshot" | "running" | "paused" | "shutoff";

export type SnapshotLocation = "no" | "internal" | "external" | "manual";

export interface SnapshotView {
  readonly name: string;
  readonly description?: string;
  readonly parent?: string;
  readonly creationTime: string;
  readonly state: SnapshotState;
  readonly current: boolean;
  /** True while it has mirrors. */
  readonly mirrored: boolean;
  /** Deleting it has begun and did not come to its end: it can only be deleted. */
  readonly deleting?: boolean;
  /** Where its data is: all that is in it, the memory too. `no`: nowhere. */
  readonly location: "internal" | "external" | "mixed" | "no";
  readonly children: number;
  readonly descendants: number;
  readonly memory?: { readonly snapshot: "no" | "internal" | "external"; readonly file?: string };
  readonly disks: readonly {
    readonly target: string;
    readonly snapshot: SnapshotLocation;
    readonly source?: ImageView;
    readonly mirror?: MirrorView;
  }[];
}

/** Which snapshots to list, and how: virsh's options of `snapshot-list`. All conditions must hold; absent or false: none. */
export interface SnapshotFilter {
  /** Below this snapshot only: its children, or all below it with `descendants`. */
  readonly from?: string;
  readonly descendants?: boolean;
  /** Without a parent. */
  readonly roots?: boolean;
  readonly leaves?: boolean;
  readonly noLeaves?: boolean;
  /** `metadata` and `noMetadata`: whether undefining the domain would lose something. Every snapshot has metadata. */
  readonly metadata?: boolean;
  readonly noMetadata?: boolean;
  readonly inactive?: boolean;
  readonly active?: boolean;
  readonly diskOnly?: boolean;
  readonly internal?: boolean;
  readonly external?: boolean;
  /** Parents before their children; otherwise by name. */
  readonly topological?: boolean;
}

export interface SnapshotCreateBody {
  /** A `<domainsnapshot>`; excludes the other fields that describe the snapshot. */
  readonly xml?: string;
  readonly name?: string;
  readonly description?: string;
  /** virsh's `--diskspec` strings. */
  readonly diskspecs?: readonly string[];
  /** virsh's `--memspec` string: `[file=]PATH[,snapshot=no|internal|external]`. */
  readonly memspec?: string;
  readonly reuseExternal?: boolean;
  /** Describe what would be done, and do nothing. */
  readonly printXml?: boolean;
  /** Check `xml` against the schema before anything else. */
  readonly validate?: boolean;
  /** Keep no memory of a running domain. */
  readonly diskOnly?: boolean;
  /** Freeze the guest's file systems meanwhile; needs `diskOnly` and the guest agent. */
  readonly quiesce?: boolean;
  /** Save the memory while the guest runs; needs an external memory file. */
  readonly live?: boolean;
  /** End the domain when the snapshot is taken. */
  readonly halt?: boolean;
  /** Forget the snapshot when it is taken: only its files stay. */
  readonly noMetadata?: boolean;
  /** Record `xml`, a description of a snapshot that exists, and touch no disk. */
  readonly redefine?: boolean;
  /** With `redefine`: make it the current one. */
  readonly current?: boolean;
  /** Limits each mirror's copying of older data; 0 or absent: no limit. */
  readonly bytesPerS?: number;
}

export interface SnapshotCreatedView {
  /** Absent with `printXml` and `noMetadata`. */
  readonly snapshot?: SnapshotView;
  readonly xml: string;
  readonly operation?: OperationView;
}

export interface EndMirrorsBody {
  readonly mirror: "pivot" | "abort";
}

export interface SnapshotDeleteBody {
  /** All below it too. */
  readonly children?: boolean;
  /** Only what is below it. */
  readonly childrenOnly?: boolean;
  /** Forget it, and leave all images as they are. */
  readonly metadataOnly?: boolean;
}

/** What a deletion would do, or did: one entry for each image that is no longer needed. */
export interface LayerFate {
  readonly disk: string;
  readonly path: string;
  /** `commit`: what stands on it is written into it; `pull`: its data goes into what stands on it; `keep`: the layer stays, see `reason`. */
  readonly fate: "commit" | "pull" | "remove" | "keep";
  /** The image that holds the data afterwards. */
  readonly into?: string;
  /** At most this much is moved. */
  readonly bytes?: number;
  readonly reason?: string;
}

export interface SnapshotDeletedView {
  readonly operation?: OperationView;
  readonly deleted: readonly string[];
  readonly layers: readonly LayerFate[];
}

export interface SnapshotRevertBody {
  /** The domain runs afterwards, whatever the snapshot says. */
  readonly running?: boolean;
  readonly paused?: boolean;
  /** Accept that the domain's definition comes from elsewhere: the snapshot carries none. */
  readonly force?: boolean;
}
