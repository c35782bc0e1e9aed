/** The service's things as its clients see them. */
import type { DiskView, DomainView, ImageView, MirrorView, SnapshotView } from "../api-types/index.ts";
import type { Disk, DomainDefinition } from "../model/domain.ts";
import type { ImageRef } from "../model/image.ts";
import type { DiskMirror, Snapshot, SnapshotConfig } from "../model/snapshot.ts";
import type { DomainEntry, SnapshotEntry } from "./domain-entry.ts";

export function viewDomain(entry: DomainEntry, mirrored: SnapshotEntry | undefined): DomainView {
  return {
    name: entry.name,
    uuid: entry.uuid,
    id: entry.run?.id ?? null,
    state: entry.run === undefined ? "shut off" : entry.paused ? "paused" : "running",
    persistent: entry.definition !== undefined,
    adopted: entry.run?.adopted ?? false,
    ...(entry.busy?.operation === undefined ? {} : { operation: entry.busy.operation }),
    ...(mirrored === undefined ? {} : { mirroredSnapshot: mirrored.name }),
  };
}

export function viewImage({ type, path, format }: ImageRef): ImageView {
  return { type, path, format };
}

function viewMirror({ target, state, reason }: DiskMirror): MirrorView {
  return { ...viewImage(target), state, ...(reason === undefined ? {} : { reason }) };
}

export function viewDisk(disk: Disk, sizeBytes: number | undefined): DiskView {
  const chain = disk.source === undefined ? [] : [disk.source, ...(disk.backing ?? [])];
  return {
    target: disk.target,
    device: disk.device,
    readonly: disk.readonly,
    chain: chain.map(viewImage),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...(disk.mirror === undefined ? {} : { mirror: viewMirror(disk.mirror) }),
  };
}

/** The mirror of a disk, while the snapshot has one. */
export function mirrorOf(snapshot: SnapshotEntry | undefined, target: string): DiskMirror | undefined {
  const image = snapshot?.mirrors?.plan.disks.find((disk) => disk.target === target)?.mirror?.image;
  const state = snapshot?.mirrors?.states[target];
  return image === undefined || state === undefined ? undefined : { target: image, ...state };
}

/** The snapshot with its mirrors' present states. */
export function documentOf(snapshot: SnapshotEntry): Snapshot {
  return {
    ...snapshot.document,
    disks: snapshot.document.disks.map((disk) => {
      const mirror = mirrorOf(snapshot, disk.target);
      return mirror === undefined ? disk : { ...disk, mirror };
    }),
  };
}

/** Images may have moved or been merged since: the domain as it was names those that hold the snapshot's data now. */
export function withPresentImages(config: SnapshotConfig, { disks }: Snapshot): SnapshotConfig {
  const bases = new Map(disks.map(({ target, base }) => [target, base]));
  const follow = (definition: DomainDefinition): DomainDefinition => ({
    ...definition,
    disks: definition.disks.map((disk) => {
      const base = bases.get(disk.target);
      return base === undefined ? disk : { ...disk, source: base };
    }),
  });
  const { domain, inactiveDomain } = config;
  return {
    domain: follow(domain),
    ...(inactiveDomain === undefined ? {} : { inactiveDomain: follow(inactiveDomain) }),
  };
}

export function viewSnapshot(snapshot: SnapshotEntry, children: number, descendants: number): SnapshotView {
  const document = documentOf(snapshot);
  const { memory } = document;
  return {
    name: document.name,
    ...(document.description === undefined ? {} : { description: document.description }),
    ...(document.parent === undefined ? {} : { parent: document.parent }),
    creationTime: new Date(document.creationTime * 1000).toISOString(),
    state: document.state,
    current: snapshot.current,
    mirrored: snapshot.mirrors !== undefined,
    ...(snapshot.deleting ? { deleting: true } : {}),
    location: locationOf(document),
    children,
    descendants,
    ...(memory === undefined ? {} : { memory }),
    disks: document.disks.map((disk) => ({
      target: disk.target,
      snapshot: disk.snapshot,
      ...(disk.source === undefined ? {} : { source: viewImage(disk.source) }),
      ...(disk.mirror === undefined ? {} : { mirror: viewMirror(disk.mirror) }),
    })),
  };
}

/** Where its data is: images of external disks and memory files are outside, internal snapshots inside of their images. */
function locationOf({ disks, memory }: Snapshot): SnapshotView["location"] {
  const places = new Set([...disks.map(({ snapshot }) => snapshot), memory?.snapshot]);
  const [internal, external] = [places.has("internal"), places.has("external")];
  if (internal && external) return "mixed";
  return internal ? "internal" : external ? "external" : "no";
}
