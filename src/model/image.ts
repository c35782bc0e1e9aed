/** Disk images as qmirror names them: always with an explicit format, never probed. */
import { formatNetworkPath, type NetworkSource } from "./network-source.ts";

export const diskFormats = ["qcow2", "raw"] as const;
export type DiskFormat = (typeof diskFormats)[number];

export const imageTypes = ["file", "block", "network"] as const;

export interface ImageRef {
  /** `file` is a regular file, `block` a block device, `network` an image that QEMU reaches over the network. */
  readonly type: (typeof imageTypes)[number];
  /** Absolute path; for `network` the name that `formatNetworkPath` gives. Either way it is what tells images apart. */
  readonly path: string;
  readonly format: DiskFormat;
  /** For `network`, always. */
  readonly network?: NetworkSource;
}

/** An image and its backing files, the active image first. Never empty. */
export type ImageChain = readonly [ImageRef, ...ImageRef[]];

export function makeNetworkImage(network: NetworkSource, format: DiskFormat): ImageRef {
  return { type: "network", path: formatNetworkPath(network), format, network };
}

/** What goes into a qcow2 header for this backing image: QEMU opens it by that name, and `readChain` knows it again. */
export function backingFileName({ path, format }: ImageRef): { readonly name: string; readonly format: DiskFormat } {
  return { name: path, format };
}
