/** Trees of one disk, for examples. */
import type { KnownLayer, TreeInput } from "../../../src/engine/plans/layer-tree.ts";
import type { Task } from "../../../src/engine/steps/task-plan.ts";
import type { Snapshot, SnapshotDisk } from "../../../src/model/snapshot.ts";
import { refOf } from "./image-world.ts";

export const common = { id: "1", domain: { uuid: "u", name: "web" } };

export function layer(path: string, backing?: string, changes: Partial<KnownLayer> = {}): KnownLayer {
  const known = { disk: "vda", image: refOf(path), sizeBytes: 1000, dataBytes: 100, tags: [] };
  return { ...known, ...(backing === undefined ? {} : { backing }), ...changes };
}

export function snapshot(name: string, disk: Omit<SnapshotDisk, "target">, changes: Partial<Snapshot> = {}): Snapshot {
  return {
    ...{ name, creationTime: 1, state: "shutoff", domainUuid: "u", domainName: "web" },
    disks: [{ target: "vda", ...disk }],
    ...changes,
  };
}

export function external(base: string, source: string): Omit<SnapshotDisk, "target"> {
  return { snapshot: "external", base: refOf(base), source: refOf(source) };
}

export function tree(
  active: string,
  layers: readonly KnownLayer[],
  snapshots: readonly Snapshot[],
  changes: Partial<TreeInput> = {},
): TreeInput {
  return { layers, active: [{ disk: "vda", path: active }], snapshots, recorded: [], foreign: new Map(), ...changes };
}

/** `merge-down /b into /a`, shortly. */
export function briefly(tasks: readonly Task[]): string[] {
  return tasks.map((task) => {
    switch (task.task) {
      case "merge-down":
        return `${task.top.path} into ${task.base.path}`;
      case "pull-up":
        return `${task.from[0].path} up into ${task.top.path}`;
      case "remove-file":
        return `remove ${task.image.path}`;
      case "create-overlay":
        return `create ${task.image.path} on ${task.backing.path}`;
      case "copy-image":
        return `copy ${task.from.path} to ${task.to.path}`;
      case "apply-internal":
        return `apply ${task.tag} to ${task.image.path}`;
      default:
        return task.task;
    }
  });
}
