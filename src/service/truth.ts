/**
 * What a fact of an operation means for the domain: which images its definitions name, and what its snapshots are. Applied in the
 * same durable write as the fact itself.
 */
import type { Fact } from "../engine/steps/step.ts";
import { mirroredDisks, type SnapshotDiskPlan, type StoragePlan } from "../engine/steps/storage-plan.ts";
import type { ImageRef } from "../model/image.ts";
import type { MirrorState, Snapshot } from "../model/snapshot.ts";
import { withImages, type DomainEntry, type SnapshotEntry, type StoredMirrors } from "./domain-entry.ts";

/** The image that holds every acknowledged write of the disk once `fact` holds. */
export function trueImage(disk: SnapshotDiskPlan, fact: Fact, left: readonly string[]): ImageRef {
  const holds = !left.includes(disk.target);
  if (fact === "commit-back" && holds) return disk.base.image;
  if (fact === "merged" && disk.mirror !== undefined) return holds ? disk.mirror.backing[0].image : disk.mirror.image;
  if (fact === "pivot" && disk.mirror !== undefined && holds) return disk.mirror.image;
  return disk.overlay.image;
}

/** Changes the entry's definitions, inactive and live, to name the true images. */
export function applyToDefinitions(entry: DomainEntry, plan: StoragePlan, fact: Fact, left: readonly string[]): void {
  const images = new Map(plan.disks.map((disk) => [disk.target, trueImage(disk, fact, left)]));
  if (entry.run !== undefined) {
    entry.run = { ...entry.run, definition: withImages(entry.run.definition, images) };
  }
  if (entry.definition !== undefined) {
    // A disk that was redefined meanwhile names an image of its own: that is the user's word for the next start.
    const known = plan.disks.filter((disk) => namesImageOf(entry, disk)).map((disk) => disk.target);
    entry.definition = withImages(entry.definition, new Map([...images].filter(([target]) => known.includes(target))));
  }
}

function namesImageOf(entry: DomainEntry, disk: SnapshotDiskPlan): boolean {
  const path = entry.definition?.disks.find((candidate) => candidate.target === disk.target)?.source?.path;
  const images = [disk.base.image, disk.overlay.image, disk.mirror?.image, disk.mirror?.backing[0].image];
  return images.some((image) => image !== undefined && image.path === path);
}

/** The snapshot as it is once `fact` holds; absent: there is none any more. */
export function applyToSnapshot(
  entry: DomainEntry,
  plan: StoragePlan,
  fact: Fact,
  left: readonly string[],
  existing: readonly SnapshotEntry[],
): SnapshotEntry | undefined {
  if (fact === "commit-back" || fact === "merged" || plan.snapshot.forgotten === true) return undefined;
  const before = existing.find((snapshot) => snapshot.name === plan.snapshot.name);
  const parent = before === undefined ? existing.find((snapshot) => snapshot.current)?.name : before.document.parent;
  const mirrors = mirrorsAfter(plan, fact, left, before?.mirrors);
  return {
    domain: entry.uuid,
    name: plan.snapshot.name,
    current: before?.current ?? true,
    deleting: before?.deleting ?? false,
    document: describeSnapshot(entry, plan, fact, left, { parent, before: before?.document }),
    ...(mirrors === undefined ? {} : { mirrors }),
  };
}

function describeSnapshot(
  entry: DomainEntry,
  plan: StoragePlan,
  fact: Fact,
  left: readonly string[],
  known: { readonly parent: string | undefined; readonly before: Snapshot | undefined },
): Snapshot {
  const { parent, before } = known;
  const external = plan.disks.map((disk) => {
    const pivoted = trueImage(disk, fact, left) === disk.mirror?.image;
    const base = pivoted ? disk.mirror?.backing[0].image : undefined;
    return {
      target: disk.target,
      snapshot: "external" as const,
      source: trueImage(disk, fact, left),
      base: base ?? disk.base.image,
    };
  });
  const others = (entry.run?.definition.disks ?? []).filter(
    (disk) => disk.device === "disk" && !external.some(({ target }) => target === disk.target),
  );
  const { forgotten: _forgotten, state = "disk-snapshot", ...described } = plan.snapshot;
  return {
    ...described,
    ...(parent === undefined ? {} : { parent }),
    state,
    domainUuid: entry.uuid,
    domainName: entry.name,
    // The plan may be about some of its disks only: the others stay as they are.
    disks: before?.disks.map((disk) => external.find(({ target }) => target === disk.target) ?? disk) ?? [
      ...external,
      ...others.map(({ target }) => ({ target, snapshot: "no" as const })),
    ],
  };
}

function mirrorsAfter(
  plan: StoragePlan,
  fact: Fact,
  left: readonly string[],
  before: StoredMirrors | undefined,
): StoredMirrors | undefined {
  const mirrored = mirroredDisks(plan);
  const all = (state: MirrorState): StoredMirrors["states"] =>
    Object.fromEntries(mirrored.map(({ target }) => [target, { state }]));
  if (mirrored.length === 0) return undefined;
  if (fact === "snapshot-taken") return { plan, states: all("starting") };
  if (fact === "mirrored") return { plan: before?.plan ?? plan, states: all("ready") };
  if (fact === "pivot" && left.length > 0) {
    const states = left.map((target) => [
      target,
      { state: "broken" as const, reason: "QEMU refused to finish the pivot" },
    ]);
    return { plan: restrictPlan(before?.plan ?? plan, left), states: Object.fromEntries(states) };
  }
  return undefined;
}

/** The part of a plan that is about these disks: ending their mirrors must not touch images that other disks have moved to. */
function restrictPlan(plan: StoragePlan, targets: readonly string[]): StoragePlan {
  return {
    ...plan,
    disks: plan.disks.filter(({ target }) => targets.includes(target)),
    files: plan.files.filter(({ disk }) => targets.includes(disk)),
    copies: plan.copies.filter(({ disk }) => targets.includes(disk)),
  };
}

/** The snapshot that is the current one again when `name` is taken back: its parent. */
export function heirOf(name: string, existing: readonly SnapshotEntry[]): SnapshotEntry | undefined {
  const removed = existing.find((snapshot) => snapshot.name === name);
  return removed?.current === true ? existing.find((other) => other.name === removed.document.parent) : undefined;
}

/** Older snapshots name layers that a pivot has moved with the rest: they follow. Returns those that change. */
export function followMove(plan: StoragePlan, fact: Fact, existing: readonly SnapshotEntry[]): SnapshotEntry[] {
  if (fact !== "pivot") return [];
  const moved = new Map(
    plan.copies.filter((copy) => copy.flatten === undefined).map((copy) => [copy.from.path, copy.to]),
  );
  return existing.flatMap((snapshot) => {
    const { disks } = snapshot.document;
    const follow = (image: ImageRef | undefined): ImageRef | undefined => moved.get(image?.path ?? "") ?? image;
    if (!disks.some(({ source, base }) => follow(source) !== source || follow(base) !== base)) return [];
    const document = {
      ...snapshot.document,
      disks: disks.map((disk) => {
        const [source, base] = [follow(disk.source), follow(disk.base)];
        return { ...disk, ...(source === undefined ? {} : { source }), ...(base === undefined ? {} : { base }) };
      }),
    };
    return [{ ...snapshot, document }];
  });
}
