/** Names of block nodes that qmirror opens at a domain's start. */
import { QmError } from "../base/errors.ts";

export interface NodeNames {
  /** Node of the image's format. */
  readonly node: string;
  /** Node of the file or block device below it. */
  readonly fileNode: string;
}

/** QEMU takes at most this many characters for a node's name. */
export const maxNodeNameLength = 31;

/**
 * Names for layer `layer` (0: active) of disk `target`: `qm-vda-0` and `qm-vda-0s`. Throws `QM_INVALID` for a target that QEMU
 * would not take as an id, or that is too long.
 */
export function nameNodes(target: string, layer: number): NodeNames {
  const node = `qm-${target}-${layer}`;
  if (!/^[A-Za-z][\w-]*$/.test(target) || node.length >= maxNodeNameLength) {
    throw new QmError("QM_INVALID", { reason: `disk target '${target}' cannot be used as a name in QEMU` });
  }
  return { node, fileNode: `${node}s` };
}
