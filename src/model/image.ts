/** Disk images as qmirror names them: always with an explicit format, never probed. */

export const diskFormats = ["qcow2", "raw"] as const;
export type DiskFormat = (typeof diskFormats)[number];

export interface ImageRef {
  /** `file` is a regular file, `block` a block device. */
  readonly type: "file" | "block";
  /** Absolute path. */
  readonly path: string;
  readonly format: DiskFormat;
}

/** An image and its backing files, the active image first. Never empty. */
export type ImageChain = readonly [ImageRef, ...ImageRef[]];
