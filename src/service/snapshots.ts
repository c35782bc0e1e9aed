/** Taking snapshots, mirrored or not, and ending their mirrors. */
import { randomBytes } from "node:crypto";
import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { SnapshotCreateBody } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import { planAbort, planPivot, planSnapshot } from "../engine/plans/plan-snapshot.ts";
import { withBacking, type DiskInput } from "../engine/plans/plan-parts.ts";
import {
  defaultPrepareTimeoutMs,
  mirrorPaths,
  type CacheMode,
  type StoragePlan,
} from "../engine/steps/storage-plan.ts";
import { readChain, resolveBackingPath } from "../image/chain.ts";
import { assertUsableTarget, removeFile } from "../image/files.ts";
import { readImageInfo } from "../image/info.ts";
import { parseDiskspec } from "../model/diskspec.ts";
import { diskFormats, type ImageRef } from "../model/image.ts";
import { alignSnapshot, type AlignedSnapshot, type AlignedDisk } from "../model/snapshot-align.ts";
import { parseSnapshotRequest } from "../model/snapshot-parse.ts";
import type { Snapshot, SnapshotRequest } from "../model/snapshot.ts";
import { readGuestDisks, type GuestDisk } from "../qemu/block-graph.ts";
import { probeDialect } from "../qemu/mirror-dialect/index.ts";
import { requireMonitor, type DomainEntry, type SnapshotEntry } from "./domain-entry.ts";
import { assertNotBusy, assertNotMirrored } from "./guards.ts";
import { liveDefinition, selectDisks, type SelectedDisk } from "./live-disks.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import type { RunningOperation } from "./running-operation.ts";
import { applyToSnapshot } from "./truth.ts";

export function newOperationId(): string {
  return randomBytes(6).toString("hex");
}

export class Snapshots {
  readonly #deps: LifecycleDeps;

  constructor(deps: LifecycleDeps) {
    this.#deps = deps;
  }

  /** What a request would do, without doing any of it; every check that needs no QEMU command is made. */
  async describe(
    entry: DomainEntry,
    body: SnapshotCreateBody,
  ): Promise<{ aligned: AlignedSnapshot; document: Snapshot; guests: readonly GuestDisk[] }> {
    const { registry } = this.#deps;
    const monitor = requireMonitor(entry);
    assertNotBusy(entry);
    assertNotMirrored(registry, entry, "another snapshot");
    const options = { now: Date.now(), reuseExternal: body.reuseExternal === true };
    const request = readRequest(body);
    const name = request.name ?? String(Math.floor(options.now / 1000));
    // Before the files, whose names are made of it.
    const existing = registry.snapshots(entry);
    if (existing.some((snapshot) => snapshot.name === name)) {
      throw new QmError("QM_SNAPSHOT_EXISTS", { domain: entry.name, snapshot: name });
    }
    const guests = await readGuestDisks(monitor);
    const aligned = alignSnapshot(await liveDefinition(entry, undefined, guests), { ...request, name }, options);
    return { aligned, guests, document: describeAligned(entry, aligned, existing) };
  }

  /** Plans it and starts it. The snapshot exists once the operation has succeeded. */
  async create(entry: DomainEntry, body: SnapshotCreateBody): Promise<{ running: RunningOperation; name: string }> {
    const { aligned, guests } = await this.describe(entry, body);
    const targets = aligned.disks.map((disk) => disk.target);
    const selected = selectDisks(entry, targets, guests);
    const reuse = body.reuseExternal === true;
    const existing = await checkTargets(aligned.disks, reuse);
    const disks = await Promise.all(
      aligned.disks.map(async (disk, index) => {
        const guest = selected[index];
        if (guest === undefined) throw new RangeError("one selected disk for each aligned one");
        return await toDiskInput(guest, disk, reuse);
      }),
    );
    const plan = planSnapshot({
      id: newOperationId(),
      domain: { uuid: entry.uuid, name: entry.name },
      dialect: await probeDialect(requireMonitor(entry)),
      snapshot: {
        name: aligned.name,
        creationTime: aligned.creationTime,
        ...(aligned.description === undefined ? {} : { description: aligned.description }),
      },
      disks,
      existing,
      reuse,
      prepareTimeoutMs: defaultPrepareTimeoutMs,
    });
    return { running: this.#deps.operations.start(entry, "snapshot-create", plan), name: aligned.name };
  }

  async pivot(entry: DomainEntry, snapshot: SnapshotEntry): Promise<RunningOperation> {
    const mirrors = requireMirrors(entry, snapshot);
    for (const [disk, { state, reason }] of Object.entries(mirrors.states)) {
      if (state === "starting") throw new QmError("QM_MIRROR_NOT_READY", { disk, state });
      if (state !== "ready") throw new QmError("QM_MIRROR_BROKEN", { disk, reason: reason ?? state });
    }
    assertNotBusy(entry);
    requireMonitor(entry);
    const plan = await withReadBacking(planPivot(mirrors.plan, newOperationId()));
    return this.#deps.operations.start(entry, "pivot", plan);
  }

  async abort(entry: DomainEntry, snapshot: SnapshotEntry): Promise<RunningOperation | undefined> {
    const mirrors = requireMirrors(entry, snapshot);
    assertNotBusy(entry);
    const plan = planAbort(mirrors.plan, newOperationId());
    if (entry.run !== undefined) return this.#deps.operations.start(entry, "abort", plan);
    await this.#forgetLostMirrors(entry, plan);
    return undefined;
  }

  /** Without QEMU there are no jobs to end: what is left of the mirrors are their files. */
  async #forgetLostMirrors(entry: DomainEntry, plan: StoragePlan): Promise<void> {
    const { store, registry, events } = this.#deps;
    await Promise.all(mirrorPaths(plan).map((path) => removeFile(path)));
    store.atomically(() => {
      const after = applyToSnapshot(entry, plan, "mirrors-ended", [], registry.snapshots(entry));
      if (after !== undefined) store.snapshots.put(after);
      events.append(entry.name, "snapshot", { snapshot: plan.snapshot.name, fact: "mirrors-ended" });
    });
  }
}

function readRequest(body: SnapshotCreateBody): SnapshotRequest {
  if (body.xml !== undefined) return parseSnapshotRequest(body.xml);
  return {
    ...(body.name === undefined ? {} : { name: body.name }),
    ...(body.description === undefined ? {} : { description: body.description }),
    disks: (body.diskspecs ?? []).map(parseDiskspec),
  };
}

function describeAligned(entry: DomainEntry, aligned: AlignedSnapshot, existing: readonly SnapshotEntry[]): Snapshot {
  const parent = existing.find((snapshot) => snapshot.current)?.name;
  return {
    name: aligned.name,
    ...(aligned.description === undefined ? {} : { description: aligned.description }),
    ...(parent === undefined ? {} : { parent }),
    creationTime: aligned.creationTime,
    state: "disk-snapshot",
    domainUuid: entry.uuid,
    domainName: entry.name,
    disks: aligned.disks.map((disk) => ({
      target: disk.target,
      snapshot: "external",
      source: disk.overlay,
      base: disk.base,
      ...(disk.mirror === undefined ? {} : { mirror: { target: disk.mirror, state: "starting" } }),
    })),
  };
}

function requireMirrors(entry: DomainEntry, snapshot: SnapshotEntry): NonNullable<SnapshotEntry["mirrors"]> {
  if (snapshot.mirrors === undefined) {
    throw new QmError("QM_SNAPSHOT_NOT_MIRRORED", { domain: entry.name, snapshot: snapshot.name });
  }
  return snapshot.mirrors;
}

/** Returns the paths that exist already: reused images, empty files, block devices. No two may be one file by two names. */
async function checkTargets(disks: readonly AlignedDisk[], reuseExternal: boolean): Promise<Set<string>> {
  const existing = new Set<string>();
  const users = new Map<string, string>();
  for (const { target, overlay, mirror } of disks) {
    for (const { path } of mirror === undefined ? [overlay] : [overlay, mirror]) {
      const state = await assertUsableTarget(target, path, { reuseExternal });
      if (state !== "missing") existing.add(path);
      const real = state === "missing" ? join(await realpath(dirname(path)), basename(path)) : await realpath(path);
      const user = users.get(real);
      if (user !== undefined) throw new QmError("QM_SAME_FILE", { disk: target, path, user });
      users.set(real, `disk '${target}' as ${path}`);
    }
  }
  return existing;
}

export function cacheOf(guest: SelectedDisk): CacheMode {
  const { cache, detectZeroes } = guest.layers[0];
  return { ...cache, detectZeroes, discard: guest.definition.discard ?? "ignore" };
}

async function toDiskInput(guest: SelectedDisk, aligned: AlignedDisk, reuse: boolean): Promise<DiskInput> {
  const { target, device, qdev, sizeBytes, layers } = guest;
  const common = { target, device, qdev, sizeBytes, layers, cache: cacheOf(guest), overlay: aligned.overlay };
  if (reuse) {
    const named = await readNamedBacking(aligned.overlay, guest);
    if (named?.path !== aligned.base.path) throw wrongBacking(target, aligned.overlay, aligned.base, named);
  }
  if (aligned.mirror === undefined) return common;
  const named = reuse ? await readNamedBacking(aligned.mirror, guest) : aligned.base;
  if (named === undefined) throw wrongBacking(target, aligned.mirror, aligned.base, named);
  // A reused mirror that names another image than the base wants to end up on that: the user is copying it.
  return { ...common, mirror: aligned.mirror, ...(named.path === aligned.base.path ? {} : { mirrorBacking: [named] }) };
}

/** What a reused image's header names as its backing file. It must be of the disk's size. */
async function readNamedBacking(image: ImageRef, guest: SelectedDisk): Promise<ImageRef | undefined> {
  const { header, virtualSizeBytes } = await readImageInfo(image, { disk: guest.target });
  if (virtualSizeBytes !== guest.sizeBytes) {
    const reason = `its size is ${virtualSizeBytes} bytes, the disk has ${guest.sizeBytes}`;
    throw new QmError("QM_IMAGE_FORMAT", {
      disk: guest.target,
      path: image.path,
      format: "an overlay of the disk",
      reason,
    });
  }
  const format = diskFormats.find((known) => known === header?.backingFormat);
  if (header?.backingName === undefined || format === undefined) return undefined;
  return { type: "file", path: await resolveBackingPath(image.path, header.backingName), format };
}

function wrongBacking(disk: string, image: ImageRef, base: ImageRef, named: ImageRef | undefined): QmError {
  const reason = `its backing file is ${named?.path ?? "not named"}, not ${base.path}`;
  return new QmError("QM_CHAIN_BROKEN", { disk, path: image.path, reason });
}

/** Before a pivot every chain below a mirror must be complete; a user who copied it may have made more layers than one. */
async function withReadBacking(plan: StoragePlan): Promise<StoragePlan> {
  const disks = await Promise.all(
    plan.disks.map(async (disk) => {
      if (disk.mirror === undefined || disk.mirror.sharesBase) return disk;
      const [, first, ...rest] = await readChain(disk.mirror.image, { disk: disk.target });
      if (first === undefined)
        throw wrongBacking(disk.target, disk.mirror.image, disk.mirror.backing[0].image, undefined);
      return { ...disk, mirror: withBacking(disk.mirror, [first, ...rest]) };
    }),
  );
  return { ...plan, disks };
}
