import type { SnapshotConfig } from "../../model/snapshot.ts";
import { mirroredDisks, type StoragePlan } from "../steps/storage-plan.ts";
import { planDisks, planFiles, planSourceNodes, type PlanInput } from "./plan-parts.ts";

export interface SnapshotInput extends PlanInput {
  readonly config: SnapshotConfig;
  /** Freeze the guest's file systems meanwhile. */
  readonly quiesce: boolean;
  readonly memory?: StoragePlan["memory"];
}

/** A snapshot of all disks at one instant, mirrored where the request says so. Ends with every mirror ready. */
export function planSnapshot(input: SnapshotInput): StoragePlan {
  const disks = planDisks(input);
  const mirrored = mirroredDisks({ disks }).length > 0;
  return {
    id: input.id,
    domain: input.domain,
    dialect: input.dialect,
    steps: [
      "create-files",
      "prepare-images",
      ...(input.quiesce ? (["freeze"] as const) : []),
      ...(input.memory === undefined ? [] : (["save-memory"] as const)),
      "take-snapshot",
      ...(input.memory === undefined ? [] : (["resume-guest"] as const)),
      ...(input.quiesce ? (["thaw"] as const) : []),
      ...(mirrored ? (["start-mirrors", "await-ready"] as const) : []),
    ],
    snapshot: input.snapshot,
    config: input.config,
    ...(input.memory === undefined ? {} : { memory: input.memory }),
    disks,
    files: planFiles(input),
    copies: [],
    sourceNodes: planSourceNodes(disks, input.disks),
    removeAfterPivot: [],
    options: { verify: false, bytesPerS: 0, prepareTimeoutMs: input.prepareTimeoutMs },
  };
}

/** Ends the mirrors that `made` started with the guest on them. Its disks and names stay; the operation is another. */
export function planPivot(made: StoragePlan, id: string): StoragePlan {
  const switching = ["prepare-pivot", "decide-pivot", "finish-pivot", "close-source"] as const;
  const attach = mirroredDisks(made).some((disk) => !disk.mirror.sharesBase);
  return { ...made, id, steps: attach ? ["attach-backing", ...switching] : switching };
}

/** Starts mirrors again that ended by themselves. */
export function planRestart(made: StoragePlan, id: string): StoragePlan {
  return { ...made, id, steps: ["restart-mirrors", "await-ready"] };
}

/** Ends the mirrors with the guest on its source, and deletes what qmirror made for them. */
export function planAbort(made: StoragePlan, id: string): StoragePlan {
  return { ...made, id, steps: ["stop-mirrors", "remove-mirrors"] };
}
