/** What a disk's writes go to as well, and how that stands. */
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
