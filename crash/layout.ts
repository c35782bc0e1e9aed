/** What a disk stands on when a run begins: one qcow2 image, an overlay with a raw base below. */
export type Layout = "qcow2" | "based";
