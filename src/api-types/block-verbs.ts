export interface BlockCopyBody {
  /** Absolute path of a new file or of a block device. */
  readonly dest: string;
  readonly destType?: "file" | "block";
  /** Default: the disk's own. */
  readonly format?: "qcow2" | "raw";
  /** Copy the active layer only; the destination stands on the same backing image. */
  readonly shallow?: boolean;
  readonly reuseExternal?: boolean;
  readonly bytesPerS?: number;
}

export interface BlockCommitBody {
  /** The layer to merge into: a path of the chain; default: the lowest. */
  readonly base?: string;
  /** Merge `top` into the layer right below it. */
  readonly shallow?: boolean;
  /** The highest layer to merge; default: the active image. */
  readonly top?: string;
  readonly bytesPerS?: number;
}

export interface BlockPullBody {
  /** The highest layer that is not pulled; default: none, the disk stands alone afterwards. */
  readonly base?: string;
  readonly bytesPerS?: number;
}

/** What is done to one disk now: `virsh blockjob --info`. */
export interface BlockJobView {
  readonly target: string;
  readonly type: "copy" | "active-commit" | "commit" | "pull" | "mirror";
  /** `ready`: it keeps the two sides equal and waits for its end. */
  readonly state: "running" | "ready";
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** 0: no limit. */
  readonly bytesPerS: number;
  readonly operation?: string;
}

export interface BlockJobEndBody {
  /** Switch to the copy; otherwise the job is given up. */
  readonly pivot?: boolean;
}

export interface BlockResizeBody {
  readonly sizeBytes: number;
}
