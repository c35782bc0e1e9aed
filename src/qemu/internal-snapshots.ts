/** Internal snapshots of a running QEMU, of its disks alone or with its memory. Offline: src/image/internal-snapshots.ts. */
import { throwIfAborted } from "../base/abort.ts";
import { QmError } from "../base/errors.ts";
import { runAdopted } from "./adopted-job.ts";
import type { JobWatch } from "./block-jobs.ts";
import type { Monitor } from "./monitor.ts";
import type { SnapshotInfo } from "./qapi.gen.ts";

export interface InternalJobOptions {
  readonly jobId: string;
  readonly tag: string;
  /** Nodes of the active images, all qcow2. */
  readonly nodes: readonly string[];
  /** Heeded before the start only: QEMU does these jobs in one go, answers nothing meanwhile and cannot cancel them. */
  readonly signal?: AbortSignal;
}

export interface MemoryJobOptions extends InternalJobOptions {
  /** Of `nodes` the one that holds the memory. */
  readonly vmstateNode: string;
}

/**
 * Saves disks and memory of one instant (`snapshot-save`). The guest stands still meanwhile and runs on afterwards if it ran
 * before, after a failure too. Repeatable: a job of this id is adopted, and a snapshot of this name, with memory, in all nodes counts as the
 * one that an earlier try took: the caller knows that there was none before the first. After a failure or when QEMU died call `deleteInternal`.
 *
 * Errors of these functions: `QM_JOB_FAILED` with QEMU's words, `QM_QMP_COMMAND`, `QM_SNAPSHOT_TREE` (a node has several of this name, or
 * none where one is needed), `QM_CANCELLED`, `QM_QMP_LOST`.
 */
export async function saveInternal(monitor: Monitor, options: MemoryJobOptions): Promise<void> {
  const { jobId, tag, nodes, vmstateNode } = options;
  await runInternal(monitor, options, "saving the internal snapshot", {
    isDone: async () => {
      const found = await findTag(monitor, nodes, tag);
      return found.size === nodes.length && hasMemory(found.get(vmstateNode));
    },
    start: () => monitor.execute("snapshot-save", { "job-id": jobId, tag, vmstate: vmstateNode, devices: nodes }),
  });
}

/**
 * Puts disks and memory back (`snapshot-load`). The guest is stopped first and stands still afterwards, so that a repeat
 * takes nothing from it that happened since. Nothing has changed, apart from the stop, when the snapshot is not there
 * with memory; after any other failure the guest's state is not to be trusted. Errors: {@link saveInternal}.
 */
export async function loadInternal(monitor: Monitor, options: MemoryJobOptions): Promise<void> {
  const { jobId, tag, nodes, vmstateNode } = options;
  await runInternal(monitor, options, "loading the internal snapshot", {
    isDone: (succeeded) => Promise.resolve(succeeded),
    start: async () => {
      const found = await findTag(monitor, nodes, tag);
      const lacking = nodes.find((node) => !found.has(node));
      if (lacking !== undefined) throw unfit(tag, `node '${lacking}' has no internal snapshot of this name`);
      // QEMU would notice only after it has stopped the guest and begun.
      if (!hasMemory(found.get(vmstateNode))) throw unfit(tag, `node '${vmstateNode}' holds no memory with it`);
      await monitor.execute("stop");
      await monitor.execute("snapshot-load", { "job-id": jobId, tag, vmstate: vmstateNode, devices: nodes });
    },
  });
}

/** Deletes the snapshot from those of the nodes that have it (`snapshot-delete`). The guest goes on. Errors: {@link saveInternal}. */
export async function deleteInternal(monitor: Monitor, options: InternalJobOptions): Promise<void> {
  const { jobId, tag, nodes } = options;
  await runInternal(monitor, options, "deleting the internal snapshot", {
    isDone: async () => (await findTag(monitor, nodes, tag)).size === 0,
    start: async () => {
      const found = await findTag(monitor, nodes, tag);
      await monitor.execute("snapshot-delete", { "job-id": jobId, tag, devices: [...found.keys()] });
    },
  });
}

/**
 * Takes an internal snapshot of the disks alone, in all nodes at one instant or in none (`transaction` of
 * `blockdev-snapshot-internal-sync`). The guest goes on. When all have one of this name there is nothing to do: see {@link saveInternal}.
 */
export async function takeInternal(monitor: Monitor, nodes: readonly string[], tag: string): Promise<void> {
  if ((await findTag(monitor, nodes, tag)).size === nodes.length) return;
  await monitor.execute("transaction", {
    actions: nodes.map((device) => ({ type: "blockdev-snapshot-internal-sync", data: { device, name: tag } })),
  });
}

interface InternalWork {
  readonly isDone: (succeeded: boolean) => Promise<boolean>;
  readonly start: () => Promise<unknown>;
}

async function runInternal(monitor: Monitor, options: InternalJobOptions, what: string, work: InternalWork) {
  const { jobId: id, tag, nodes, signal } = options;
  throwIfAborted(signal, what);
  const finish = (watch: JobWatch) => watch.until(["concluded"], { what });
  await runAdopted(monitor, { id, disk: nodes.join(", "), what: `${what} '${tag}'`, finish, ...work });
}

/** By node: the snapshot of this name. */
async function findTag(monitor: Monitor, nodes: readonly string[], tag: string): Promise<Map<string, SnapshotInfo>> {
  const infos = await monitor.execute("query-named-block-nodes", { flat: true });
  const found = new Map<string, SnapshotInfo>();
  for (const node of nodes) {
    const { image } = infos.find((info) => info["node-name"] === node) ?? {};
    const [snapshot, ...more] = image?.snapshots?.filter(({ name }) => name === tag) ?? [];
    if (more.length > 0) throw unfit(tag, `node '${node}' has ${more.length + 1} internal snapshots of this name`);
    if (snapshot !== undefined) found.set(node, snapshot);
  }
  return found;
}

function hasMemory(snapshot: SnapshotInfo | undefined): boolean {
  return snapshot !== undefined && snapshot["vm-state-size"] > 0;
}

function unfit(tag: string, reason: string): QmError<"QM_SNAPSHOT_TREE"> {
  return new QmError("QM_SNAPSHOT_TREE", { snapshot: tag, reason });
}
