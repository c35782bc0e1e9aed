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
  readonly type: "file" | "block" | "network";
  /** An URI for `network`. */
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
