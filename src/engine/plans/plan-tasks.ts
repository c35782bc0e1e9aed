/** Snapshots without mirrors that need no transaction of new overlays: of domains that do not run, and internal ones. Pure. */
import type { ImageRef } from "../../model/image.ts";
import type { Snapshot, SnapshotConfig } from "../../model/snapshot.ts";
import type { Task, TaskPlan, TruthChange } from "../steps/task-plan.ts";

export interface TaskSnapshotInput {
  readonly id: string;
  readonly domain: TaskPlan["domain"];
  readonly document: Snapshot;
  readonly config: SnapshotConfig;
  /** Forget it once it is taken. */
  readonly forgotten: boolean;
}

export interface OfflineDisk {
  readonly target: string;
  readonly base: ImageRef;
  readonly sizeBytes: number;
  /** Absent: an internal snapshot. */
  readonly overlay?: ImageRef;
  /** The overlay is there already. */
  readonly reuse: boolean;
}

/** No QEMU has the images open. */
export function planOffline(input: TaskSnapshotInput, disks: readonly OfflineDisk[]): TaskPlan {
  const tag = input.document.name;
  const tasks = disks.map(({ target, base, sizeBytes, overlay, reuse }): Task =>
    overlay === undefined
      ? { task: "internal-offline", disk: target, image: base, tag }
      : { task: "create-overlay", disk: target, image: overlay, backing: base, sizeBytes, like: base.path, reuse },
  );
  const images = disks.flatMap(({ target, base, overlay }) =>
    overlay === undefined ? [] : [{ disk: target, from: base.path, to: overlay }],
  );
  return toPlan(input, tasks, { images });
}

/** Internal snapshots in the images of a running guest, at one instant, with its memory. */
export function planInternalLive(
  input: TaskSnapshotInput,
  disks: readonly { readonly disk: string; readonly image: ImageRef }[],
): TaskPlan {
  const tag = input.document.name;
  return toPlan(input, [{ task: "internal-live", disks, tag, jobId: `qm-${input.id}-save` }], {});
}

function toPlan(input: TaskSnapshotInput, tasks: readonly Task[], change: TruthChange): TaskPlan {
  const { id, domain, document, config, forgotten } = input;
  const record: TruthChange = forgotten
    ? {}
    : { snapshots: [{ document, deleting: false, config }], current: document.name };
  return {
    family: "tasks",
    id,
    domain,
    tasks: [...tasks, { task: "establish", change: { ...change, ...record } }],
    decidedAt: tasks.length,
    stoppable: false,
    options: { bytesPerS: 0 },
  };
}
