/** Taking snapshots of every kind: running domains and others, with mirrors and without, disks alone or memory too. */
import { isAbsolute } from "node:path";
import type { SnapshotCreateBody } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import { planInternalLive, planOffline, type OfflineDisk } from "../engine/plans/plan-tasks.ts";
import { planSnapshot } from "../engine/plans/plan-snapshot.ts";
import { defaultPrepareTimeoutMs, type StoragePlan } from "../engine/steps/storage-plan.ts";
import { assertUsableTarget } from "../image/files.ts";
import { readImageInfo } from "../image/info.ts";
import { listInternalSnapshots } from "../image/internal-snapshots.ts";
import { parseDiskspec } from "../model/diskspec.ts";
import { formatDomain } from "../model/domain-format.ts";
import type { ImageRef } from "../model/image.ts";
import { parseMemspec } from "../model/memspec.ts";
import { alignSnapshot, externalDisks, type AlignedSnapshot } from "../model/snapshot-align.ts";
import { parseSnapshotRequest } from "../model/snapshot-parse.ts";
import type { Snapshot, SnapshotConfig, SnapshotDisk, SnapshotRequest } from "../model/snapshot.ts";
import { readGuestDisks, type GuestDisk } from "../qemu/block-graph.ts";
import { probeDialect } from "../qemu/mirror-dialect/index.ts";
import { presentDefinition, requireMonitor, type DomainEntry, type SnapshotEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import { assertNotBusy, assertNotCopied, assertNotMirrored } from "./guards.ts";
import { requireAgent } from "./guest-agent.ts";
import { liveDefinition, selectDisks } from "./live-disks.ts";
import { newOperationId } from "./operation-id.ts";
import type { RunningOperation } from "./running-operation.ts";
import { checkTargets, toDiskInput } from "./snapshot-targets.ts";

/** A request with every choice made, and what the snapshot will be. */
export interface DescribedSnapshot {
  readonly aligned: AlignedSnapshot;
  readonly document: Snapshot;
  readonly config: SnapshotConfig;
  /** The guest's disks, where it runs. */
  readonly guests: readonly GuestDisk[];
}

/** What a request would do, without doing any of it; every check that needs no QEMU command is made. */
export async function describeSnapshot(
  { registry }: LifecycleDeps,
  entry: DomainEntry,
  body: SnapshotCreateBody,
): Promise<DescribedSnapshot> {
  const runs = entry.run !== undefined;
  const guests = runs ? await readGuestDisks(requireMonitor(entry)) : [];
  assertNotBusy(entry);
  assertNotMirrored(registry, entry, "another snapshot");
  assertNotCopied(entry, "a snapshot");
  const now = Date.now();
  const request = readRequest(body);
  const name = request.name ?? String(Math.floor(now / 1000));
  // Before the files, whose names are made of it.
  const existing = registry.snapshots(entry);
  if (existing.some((snapshot) => snapshot.name === name)) {
    throw new QmError("QM_SNAPSHOT_EXISTS", { domain: entry.name, snapshot: name });
  }
  const definition = await liveDefinition(entry, undefined, runs ? guests : undefined);
  const options = {
    now,
    reuseExternal: body.reuseExternal === true,
    running: runs,
    paused: entry.paused,
    diskOnly: body.diskOnly === true,
    live: body.live === true,
  };
  const aligned = alignSnapshot(definition, { ...request, name }, options);
  if (body.quiesce === true && aligned.state !== "disk-snapshot") {
    throw new QmError("QM_INVALID", { reason: "quiesce needs a disk-only snapshot of a running domain" });
  }
  const domain = presentDefinition(entry);
  const differs = runs && entry.definition !== undefined;
  const config = { domain, ...(differs ? { inactiveDomain: entry.definition } : {}) };
  return { aligned, guests, config, document: documentOfAligned(entry, aligned, existing) };
}

/** Plans it and starts it. The snapshot exists once the operation has succeeded. */
export async function createSnapshot(
  deps: LifecycleDeps,
  entry: DomainEntry,
  body: SnapshotCreateBody,
): Promise<{ running: RunningOperation; described: DescribedSnapshot }> {
  const described = await describeSnapshot(deps, entry, body);
  const { aligned } = described;
  if (body.noMetadata === true && externalDisks(aligned).some(({ mirror }) => mirror !== undefined)) {
    throw new QmError("QM_INVALID", {
      reason: "a mirrored snapshot needs its metadata: that is what ends its mirrors",
    });
  }
  // Before anything is created; only the freeze itself shows whether the agent answers.
  if (body.quiesce === true) await requireAgent(deps, entry);
  const kind = "snapshot-create";
  if (entry.run === undefined) {
    return { described, running: deps.operations.start(entry, kind, await planForInactive(entry, body, described)) };
  }
  const isInternal = aligned.disks.some(({ snapshot }) => snapshot === "internal");
  const plan = isInternal ? await planInternal(entry, body, described) : await planExternal(entry, body, described);
  return { described, running: deps.operations.start(entry, kind, plan) };
}

async function planExternal(
  entry: DomainEntry,
  body: SnapshotCreateBody,
  { aligned, guests, config }: DescribedSnapshot,
): Promise<StoragePlan> {
  const monitor = requireMonitor(entry);
  const external = externalDisks(aligned);
  const targets = external.map((disk) => disk.target);
  const selected = selectDisks(entry, targets, guests);
  const reuse = body.reuseExternal === true;
  const existing = await checkTargets(external, reuse);
  const disks = await Promise.all(
    external.map(async (disk, index) => {
      const guest = selected[index];
      if (guest === undefined) throw new RangeError("one selected disk for each aligned one");
      return await toDiskInput(guest, disk, reuse);
    }),
  );
  const { name, description, creationTime, state, memory } = aligned;
  if (memory.file !== undefined) await assertNewFile("memory", memory.file);
  const dialect = await probeDialect(monitor);
  return planSnapshot({
    id: newOperationId(),
    domain: { uuid: entry.uuid, name: entry.name },
    dialect,
    snapshot: {
      name,
      creationTime,
      ...(description === undefined ? {} : { description }),
      state,
      ...(memory.snapshot === "no" ? {} : { memory }),
      ...(body.noMetadata === true ? { forgotten: true } : {}),
    },
    config,
    quiesce: body.quiesce === true,
    ...(memory.file === undefined
      ? {}
      : {
          memory: {
            path: memory.file,
            xml: formatDomain(config.domain),
            live: body.live === true,
            wasRunning: !entry.paused,
          },
        }),
    disks,
    existing,
    reuse,
    prepareTimeoutMs: defaultPrepareTimeoutMs,
  });
}

async function planInternal(entry: DomainEntry, body: SnapshotCreateBody, described: DescribedSnapshot) {
  const disks = described.aligned.disks.flatMap((disk) =>
    disk.snapshot === "internal" ? [{ disk: disk.target, image: disk.base }] : [],
  );
  for (const { disk, image } of disks) await assertNoTag(disk, image, described.aligned.name);
  return planInternalLive(toTaskInput(entry, body, described), disks);
}

async function planForInactive(entry: DomainEntry, body: SnapshotCreateBody, described: DescribedSnapshot) {
  const { aligned } = described;
  const reuse = body.reuseExternal === true;
  await checkTargets(externalDisks(aligned), reuse);
  const disks = await Promise.all(
    aligned.disks.map(async (disk): Promise<OfflineDisk[]> => {
      if (disk.snapshot !== "external" && disk.snapshot !== "internal") return [];
      const { target, base } = disk;
      const { virtualSizeBytes: sizeBytes } = await readImageInfo(base, { disk: target });
      if (disk.snapshot === "external") return [{ target, base, sizeBytes, reuse, overlay: disk.overlay }];
      await assertNoTag(target, base, aligned.name);
      return [{ target, base, sizeBytes, reuse }];
    }),
  );
  return planOffline(toTaskInput(entry, body, described), disks.flat());
}

function toTaskInput(entry: DomainEntry, body: SnapshotCreateBody, { document, config }: DescribedSnapshot) {
  const domain = { uuid: entry.uuid, name: entry.name };
  return { id: newOperationId(), domain, document, config, forgotten: body.noMetadata === true };
}

/** QEMU takes several of one name, and then nobody can tell them apart. */
async function assertNoTag(disk: string, image: ImageRef, tag: string): Promise<void> {
  if ((await listInternalSnapshots(image, { disk })).some(({ name }) => name === tag)) {
    const reason = `disk '${disk}': ${image.path} has an internal snapshot '${tag}' already, which qmirror does not know`;
    throw new QmError("QM_INVALID", { reason, disk });
  }
}

async function assertNewFile(disk: string, path: string): Promise<void> {
  if (!isAbsolute(path)) throw new QmError("QM_INVALID", { reason: `'${path}' is not an absolute path` });
  if ((await assertUsableTarget(disk, path)) !== "missing") throw new QmError("QM_FILE_EXISTS", { disk, path });
}

function readRequest(body: SnapshotCreateBody): SnapshotRequest {
  if (body.xml !== undefined) return parseSnapshotRequest(body.xml);
  return {
    ...(body.name === undefined ? {} : { name: body.name }),
    ...(body.description === undefined ? {} : { description: body.description }),
    ...(body.memspec === undefined ? {} : { memory: parseMemspec(body.memspec) }),
    disks: (body.diskspecs ?? []).map(parseDiskspec),
  };
}

function documentOfAligned(
  entry: DomainEntry,
  { disks, ...aligned }: AlignedSnapshot,
  existing: readonly SnapshotEntry[],
): Snapshot {
  const parent = existing.find((snapshot) => snapshot.current)?.name;
  return {
    ...aligned,
    ...(parent === undefined ? {} : { parent }),
    domainUuid: entry.uuid,
    domainName: entry.name,
    disks: disks.map((disk): SnapshotDisk => {
      const { target, snapshot } = disk;
      if (disk.snapshot === "internal") return { target, snapshot, base: disk.base };
      if (disk.snapshot !== "external") return { target, snapshot };
      const mirror = disk.mirror === undefined ? {} : { mirror: { target: disk.mirror, state: "starting" as const } };
      return { target, snapshot, source: disk.overlay, base: disk.base, ...mirror };
    }),
  };
}
