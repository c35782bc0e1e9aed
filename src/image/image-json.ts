/** Names for qemu-img in which every layer's format and protocol is stated, so that it opens what we read and nothing else. */
import type { ImageChain, ImageRef } from "../model/image.ts";
import { describeNetworkOptions } from "../model/network-options.ts";
import { requireAbsolute } from "./open-image.ts";

export interface ImageJsonOptions {
  /** Takes no locks and heeds none: for images that the caller knows to be at rest while a QEMU has them open. */
  readonly unlocked?: boolean;
}

/** A `json:` name of the whole chain (QAPI `BlockdevOptions`). Throws `QM_INVALID` for a path that is not absolute. */
export function chainJson(chain: ImageChain, options: ImageJsonOptions = {}): string {
  return `json:${JSON.stringify(chainNode(chain, options))}`;
}

/** As {@link chainJson} for one image alone: its backing file is not opened. */
export function imageJson(image: ImageRef, options: ImageJsonOptions = {}): string {
  return chainJson([image], options);
}

function chainNode([top, ...rest]: ImageChain, options: ImageJsonOptions): Record<string, unknown> {
  const file = fileNode(top, options);
  const [next, ...below] = rest;
  if (top.format === "raw") return { driver: "raw", file };
  return { driver: "qcow2", file, backing: next === undefined ? null : chainNode([next, ...below], options) };
}

function fileNode({ type, path, network }: ImageRef, { unlocked }: ImageJsonOptions): Record<string, unknown> {
  if (network !== undefined) return describeNetworkOptions(network);
  requireAbsolute(path);
  return { driver: type === "block" ? "host_device" : "file", filename: path, ...(unlocked ? { locking: "off" } : {}) };
}
