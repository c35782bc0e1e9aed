/** Going back to a snapshot, from any state to any state. */
import { dirname, join } from "node:path";
import type { SnapshotRevertBody } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import type { TreeInput } from "../engine/plans/layer-tree.ts";
import { planRevert, type RevertDisk } from "../engine/plans/plan-revert.ts";
import { assertUsableTarget } from "../image/files.ts";
import { parseDomain } from "../model/domain-parse.ts";
import type { DomainDefinition } from "../model/domain.ts";
import type { ImageRef } from "../model/image.ts";
import type { Snapshot, SnapshotConfig, SnapshotDisk } from "../model/snapshot.ts";
import { readMemoryFile } from "../qemu/memory-file.ts";
import { presentDefinition, type DomainEntry, type SnapshotEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import { assertNotBusy, assertNotCopied, assertNotMirrored } from "./guards.ts";
import { surveyLayers } from "./layer-survey.ts";
import { newOperationId } from "./operation-id.ts";
import type { RunningOperation } from "./running-operation.ts";
import { assertFits } from "./save-restore.ts";

export async function startRevert(
  deps: LifecycleDeps,
  entry: DomainEntry,
  { name, document, deleting }: SnapshotEntry,
  request: SnapshotRevertBody,
): Promise<RunningOperation> {
  const { registry, store, operations } = deps;
  assertNotBusy(entry);
  assertNotMirrored(registry, entry, "reverting to a snapshot");
  assertNotCopied(entry, "reverting to a snapshot");
  const what = "reverting to it";
  if (deleting) throw new QmError("QM_SNAPSHOT_DELETING", { domain: entry.name, snapshot: name, what });
  if (entry.run?.adopted === true) {
    const detail = `: domain '${entry.name}' was attached, and qmirror does not know how it was started`;
    throw new QmError("QM_UNSUPPORTED", { what: "reverting an attached domain", detail });
  }
  const after = stateAfter(document, request);
  if (after === "off" && entry.definition === undefined) {
    const reason = `domain '${entry.name}' is transient and would be gone; --running or --paused starts it`;
    throw new QmError("QM_INVALID", { reason });
  }
  const config = store.snapshots.config<SnapshotConfig>(entry.uuid, name);
  if (config === undefined && request.force !== true) {
    const reason = "it carries no definition of the domain, whose present one may not fit its disks";
    throw new QmError("QM_REVERT_RISKY", { snapshot: name, reason });
  }
  const tree = await surveyLayers(deps, entry);
  const id = newOperationId();
  const disks = await Promise.all(
    document.disks.filter(({ snapshot }) => snapshot !== "no").map((disk) => toRevertDisk(name, disk, tree, id)),
  );
  const held = new Set(disks.map(({ target }) => target));
  const present = presentDefinition(entry);
  const { definition: persistent } = entry;
  const definition = rebuild(entry, config?.domain ?? present, present, held);
  const withMemory = after !== "off" && (document.state === "running" || document.state === "paused");
  if (withMemory) await assertMemoryFits(document, definition);
  const plan = planRevert({
    id,
    domain: { uuid: entry.uuid, name: entry.name },
    tree,
    snapshot: document,
    definition,
    ...(persistent === undefined
      ? {}
      : {
          persistent: rebuild(entry, config?.inactiveDomain ?? config?.domain ?? persistent, persistent, held),
        }),
    disks,
    runs: entry.run !== undefined,
    after,
    withMemory,
  });
  return operations.start(entry, "snapshot-revert", plan);
}

/** `QM_MEMORY_FILE` naming all that differs, `QM_NO_FILE`: QEMU would say so too, when what runs now has ended. */
async function assertMemoryFits({ memory }: Snapshot, definition: DomainDefinition): Promise<void> {
  if (memory?.snapshot !== "external" || memory.file === undefined) return;
  const { name, uuid } = definition;
  const saved = parseDomain((await readMemoryFile(memory.file)).xml);
  assertFits(memory.file, { ...saved, name, uuid }, definition);
}

function stateAfter({ state }: Snapshot, { running, paused }: SnapshotRevertBody): "off" | "running" | "paused" {
  if (running === true && paused === true) {
    throw new QmError("QM_INVALID", { reason: "running and paused exclude each other" });
  }
  if (running === true) return "running";
  if (paused === true) return "paused";
  return state === "running" || state === "paused" ? state : "off";
}

/** As the snapshot has it, under its present name; disks that the snapshot does not hold stay what they are now. */
function rebuild(
  entry: DomainEntry,
  then: DomainDefinition,
  now: DomainDefinition,
  held: ReadonlySet<string>,
): DomainDefinition {
  const disks = then.disks.map((disk) => {
    const source = held.has(disk.target) ? undefined : now.disks.find(({ target }) => target === disk.target)?.source;
    return source === undefined ? disk : { ...disk, source };
  });
  return { ...then, name: entry.name, uuid: entry.uuid, disks };
}

async function toRevertDisk(name: string, disk: SnapshotDisk, tree: TreeInput, id: string): Promise<RevertDisk> {
  const { target, snapshot: kind, base: image } = disk;
  if (kind !== "external" && kind !== "internal") {
    const reason = `disk '${target}' was snapshot by hand (manual): qmirror does not have its data`;
    throw new QmError("QM_SNAPSHOT_TREE", { snapshot: name, reason });
  }
  const base = tree.layers.find((layer) => layer.image.path === image?.path);
  if (image === undefined || base === undefined) {
    const reason = `the data of disk '${target}' is not there: ${image?.path ?? "its image is not known"}`;
    throw new QmError("QM_SNAPSHOT_TREE", { snapshot: name, reason });
  }
  if (kind === "internal" && !base.tags.includes(name)) {
    throw new QmError("QM_SNAPSHOT_TREE", { snapshot: name, reason: `${image.path} has no internal snapshot of it` });
  }
  const newImage = branchImage(disk, image, id);
  const state = await assertUsableTarget(target, newImage.path);
  if (state !== "missing") throw new QmError("QM_FILE_EXISTS", { disk: target, path: newImage.path });
  return { target, kind, base, newImage };
}

/** Beside the snapshot's data, or beside its overlay where that is a block device. */
function branchImage({ target, source }: SnapshotDisk, base: ImageRef, id: string): ImageRef {
  const suffix = id.slice(0, 6);
  const stem = base.path.replace(/\.[^./]*$/, "");
  const path =
    base.type === "file" || source === undefined
      ? `${stem}.r${suffix}`
      : join(dirname(source.path), `${target}.r${suffix}`);
  return { type: "file", path, format: "qcow2" };
}
