/** `migrate-storage` and `clone-storage`: checked and planned here, carried out by the engine. */
import { stat } from "node:fs/promises";
import { isAbsolute } from "node:path";
import type { CloneBody, MigrateBody } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import { planMove, type MoveDisk } from "../engine/plans/plan-move.ts";
import { defaultPrepareTimeoutMs, mirroredDisks, type StoragePlan } from "../engine/steps/storage-plan.ts";
import { readChain } from "../image/chain.ts";
import { assertUsableTarget } from "../image/files.ts";
import { readImageInfo } from "../image/info.ts";
import { assertSpace } from "../image/space.ts";
import { readGuestDisks } from "../qemu/block-graph.ts";
import { probeDialect } from "../qemu/mirror-dialect/index.ts";
import { requireMonitor, type DomainEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import { assertNotBusy, assertNotCopied, assertNotMirrored } from "./guards.ts";
import { selectDisks, type SelectedDisk } from "./live-disks.ts";
import type { RunningOperation } from "./running-operation.ts";
import { newOperationId } from "./operation-id.ts";
import { cacheOf } from "./snapshot-targets.ts";

export async function startMove(
  deps: LifecycleDeps,
  entry: DomainEntry,
  kind: "migrate" | "clone",
  request: MigrateBody & CloneBody,
): Promise<RunningOperation> {
  const monitor = requireMonitor(entry);
  assertNotBusy(entry);
  const what = kind === "migrate" ? "migrating its storage" : "cloning its storage";
  assertNotMirrored(deps.registry, entry, what);
  assertNotCopied(entry, what);
  await checkDirectory(request.to);
  const selected = selectDisks(entry, request.disks, await readGuestDisks(monitor));
  const id = newOperationId();
  const plan = planMove({
    id,
    kind,
    domain: { uuid: entry.uuid, name: entry.name },
    dialect: await probeDialect(monitor),
    snapshot: { name: `${kind}-${id}`, creationTime: Math.floor(Date.now() / 1000) },
    disks: await Promise.all(selected.map(toMoveDisk)),
    directory: request.to,
    flatten: request.flatten === true,
    verify: request.verify === true,
    bytesPerS: request.bytesPerS ?? 0,
    keepSource: request.keepSource === true,
    prepareTimeoutMs: defaultPrepareTimeoutMs,
  });
  await checkPlan(plan);
  const neededBytes = plan.copies.reduce((sum, copy) => sum + copy.sizeBytes, 0);
  await assertSpace({ directory: request.to, neededBytes });
  return deps.operations.start(entry, kind === "migrate" ? "migrate-storage" : "clone-storage", plan);
}

async function checkDirectory(path: string): Promise<void> {
  if (!isAbsolute(path)) throw new QmError("QM_INVALID", { reason: `'${path}' is not an absolute path` });
  const stats = await stat(path).catch(() => undefined);
  if (stats?.isDirectory() !== true) throw new QmError("QM_NO_DIRECTORY", { path });
}

/** The headers are read although QEMU tells the chain: a layer may have been deleted or replaced below it. */
async function toMoveDisk(guest: SelectedDisk): Promise<MoveDisk> {
  const { target, device, qdev, sizeBytes, layers } = guest;
  const stated = guest.definition.statedBacking;
  const chain = await readChain(layers[0].image, { disk: target, stated });
  const missing = layers.findIndex((layer, index) => layer.image.path !== chain[index]?.path);
  if (missing !== -1 || chain.length !== layers.length) {
    const path = layers[missing]?.image.path ?? layers[0].image.path;
    throw new QmError("QM_CHAIN_BROKEN", {
      disk: target,
      path,
      reason: "its header and QEMU disagree on its backing files",
    });
  }
  const infos = await Promise.all(chain.map((image) => readImageInfo(image, { disk: target })));
  // A block device has no holes that could be known beforehand.
  const allocatedBytes = infos.map((info, index) =>
    chain[index]?.type === "block" ? info.lengthBytes : info.allocatedBytes,
  );
  return { target, device, qdev, sizeBytes, layers, cache: cacheOf(guest), allocatedBytes };
}

/** No file of the plan may be there already, and none may be meant for two things. */
async function checkPlan(plan: StoragePlan): Promise<void> {
  const users = new Map<string, string>();
  for (const disk of mirroredDisks(plan)) users.set(disk.base.image.path, `disk '${disk.target}'`);
  const targets = [
    ...plan.copies.map(({ disk, to }) => ({ disk, path: to.path })),
    ...plan.files.map(({ disk, path }) => ({ disk, path })),
  ];
  for (const { disk, path } of targets) {
    const user = users.get(path);
    if (user !== undefined) throw new QmError("QM_SAME_FILE", { disk, path, user });
    users.set(path, `disk '${disk}'`);
    const state = await assertUsableTarget(disk, path);
    if (state !== "missing") throw new QmError("QM_FILE_EXISTS", { disk, path });
  }
}
