/** An internal snapshot in a layer that the running guest only reads. */
import { deleteInternal } from "./internal-snapshots.ts";
import type { CacheMode, ImageNode } from "./mirror-dialect/dialect.ts";
import { formatNodeOptions } from "./mirror-dialect/image-nodes.ts";
import { isConnected, type Monitor } from "./monitor.ts";

export interface DeleteBelowOptions {
  readonly jobId: string;
  readonly tag: string;
  /** A layer below the active one, with a node of its own for the file. */
  readonly layer: ImageNode;
  readonly cache: CacheMode;
  /** The node that it stands on; null: none. */
  readonly backing: string | null;
  readonly signal: AbortSignal;
}

/**
 * Opens the layer for writing (`blockdev-reopen`), deletes the snapshot, and opens it for reading again, after a failure too. What the
 * layer shows does not change. Repeatable, one that is gone already included. Rejects as `deleteInternal`; `QM_QMP_COMMAND` where
 * QEMU does not open it.
 */
export async function deleteInternalBelow(monitor: Monitor, options: DeleteBelowOptions): Promise<void> {
  const { jobId, tag, layer, cache, backing, signal } = options;
  const reopen = (readOnly: boolean) =>
    monitor.execute("blockdev-reopen", { options: [formatNodeOptions(layer, cache, readOnly, backing)] });
  try {
    await reopen(false);
    await deleteInternal(monitor, { jobId, tag, nodes: [layer.node], signal });
  } finally {
    if (isConnected(monitor)) await reopen(true);
  }
}
