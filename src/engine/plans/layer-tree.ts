/** The images of a domain's disks as trees, and who needs which of them: worked on while a plan is made, so that each step sees what those before it leave. */
import type { ImageRef } from "../../model/image.ts";
import type { Snapshot } from "../../model/snapshot.ts";

export interface KnownLayer {
  readonly disk: string;
  readonly image: ImageRef;
  /** Path of what it stands on. */
  readonly backing?: string;
  /** Virtual size. */
  readonly sizeBytes: number;
  /** Guest data in this layer alone. */
  readonly dataBytes: number;
  /** Names of its internal snapshots. */
  readonly tags: readonly string[];
}

/** An image of which the state file has a note. */
export interface RecordedLayer {
  readonly disk: string;
  readonly image: ImageRef;
  /** `madeReason`, `broughtReason`; every other: why an image of ours is still there that the domain does not need. */
  readonly reason: string;
}

/** The domain's state is in it, or was when qmirror last saw it: removed only where a revert or a deletion gives that state up. */
export const madeReason = "made by qmirror";
/** Merged when that is possible, never removed for nobody needs it. */
export const broughtReason = "not needed, and not made by qmirror";

export interface TreeInput {
  readonly layers: readonly KnownLayer[];
  /** The image that each disk writes to, by the live definition and the persistent one. */
  readonly active: readonly { readonly disk: string; readonly path: string }[];
  readonly snapshots: readonly Snapshot[];
  readonly recorded: readonly RecordedLayer[];
  /** Paths that something else than this domain uses, and what that is. */
  readonly foreign: ReadonlyMap<string, string>;
}

export class LayerTree {
  readonly #layers: Map<string, KnownLayer>;
  readonly #active: { readonly disk: string; path: string }[];
  readonly #foreign: ReadonlyMap<string, string>;
  readonly #made: ReadonlySet<string>;
  /** Those that remain, by name. */
  readonly snapshots: Map<string, Snapshot>;
  /** Those that are being deleted: they need nothing, and name their images as long as they are there. */
  readonly departing = new Map<string, Snapshot>();
  readonly recorded: Map<string, RecordedLayer>;

  constructor(input: TreeInput) {
    this.#layers = new Map(input.layers.map((layer) => [layer.image.path, layer]));
    this.#active = input.active.map((active) => ({ ...active }));
    this.#foreign = input.foreign;
    this.snapshots = new Map(input.snapshots.map((snapshot) => [snapshot.name, snapshot]));
    this.recorded = new Map(input.recorded.map((layer) => [layer.image.path, layer]));
    const sources = input.snapshots.flatMap(({ disks }) => disks.flatMap(({ source }) => source?.path ?? []));
    const recorded = input.recorded.filter(({ reason }) => reason !== broughtReason);
    this.#made = new Set([...sources, ...recorded.map(({ image }) => image.path)]);
  }

  find(path: string): KnownLayer | undefined {
    return this.#layers.get(path);
  }

  childrenOf(path: string): KnownLayer[] {
    return [...this.#layers.values()].filter(({ backing }) => backing === path);
  }

  /** Whether the image itself, not only what stands on it, shows the domain's present state or what an external snapshot holds. */
  isNeeded(path: string): boolean {
    if (this.isActive(path)) return true;
    return [...this.snapshots.values()].some(({ disks }) =>
      disks.some(({ snapshot, base }) => snapshot !== "internal" && base?.path === path),
    );
  }

  /** An internal snapshot in the image. */
  internalIn(path: string): string | undefined {
    return [...this.snapshots.values()].find(({ disks }) =>
      disks.some(({ snapshot, base }) => snapshot === "internal" && base?.path === path),
    )?.name;
  }

  isActive(path: string): boolean {
    return this.#active.some((active) => active.path === path);
  }

  /** Overlays that snapshots made, and what is recorded as made by qmirror. Others are the user's. */
  isMade(path: string): boolean {
    return this.#made.has(path);
  }

  /** Whether it is there only because it could not be got rid of yet. */
  isLeft(path: string): boolean {
    const reason = this.recorded.get(path)?.reason;
    return reason !== undefined && reason !== madeReason;
  }

  foreignUserOf(path: string): string | undefined {
    return this.#foreign.get(path);
  }

  remove(path: string): void {
    this.#layers.delete(path);
    this.recorded.delete(path);
  }

  put(layer: KnownLayer): void {
    this.#layers.set(layer.image.path, layer);
  }

  setActive(disk: string, path: string): void {
    for (const active of this.#active) if (active.disk === disk) active.path = path;
    if (!this.#active.some((active) => active.disk === disk)) this.#active.push({ disk, path });
  }

  /** What named `from` names `to` now. Returns the snapshots that changed. */
  rename(from: string, to: ImageRef): Snapshot[] {
    for (const active of this.#active) if (active.path === from) active.path = to.path;
    for (const layer of this.childrenOf(from)) this.put({ ...layer, backing: to.path });
    return [...this.renameSources(from, to), ...this.#change("base", from, to)];
  }

  /** Snapshots of which `from` was the overlay have `to` for it now. Returns them. */
  renameSources(from: string, to: ImageRef): Snapshot[] {
    return this.#change("source", from, to);
  }

  #change(field: "source" | "base", from: string, to: ImageRef): Snapshot[] {
    return [this.snapshots, this.departing].flatMap((snapshots) => {
      const changed = [...snapshots.values()]
        .filter(({ disks }) => disks.some((disk) => disk[field]?.path === from))
        .map((snapshot): Snapshot => {
          const disks = snapshot.disks.map((disk) => (disk[field]?.path === from ? { ...disk, [field]: to } : disk));
          return { ...snapshot, disks };
        });
      for (const snapshot of changed) snapshots.set(snapshot.name, snapshot);
      return changed;
    });
  }
}
