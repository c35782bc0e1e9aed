/** What a domain with snapshots is to be, without images: contents by name. */

export const targets = ["vda", "vdb"] as const;
export type Target = (typeof targets)[number];
export type Contents = Readonly<Partial<Record<Target, readonly number[]>>>;
export type Power = "off" | "running" | "paused";

export interface ModelSnapshot {
  readonly name: string;
  parent: string | undefined;
  /** Of the disks that it holds. */
  readonly contents: Contents;
  /** What the domain does after a plain revert. */
  readonly after: Power;
  /** Some of its data are internal snapshots. */
  readonly internal: boolean;
}

export class SnapshotModel {
  readonly snapshots = new Map<string, ModelSnapshot>();
  present: Required<Contents>;
  current: string | undefined;
  power: Power = "off";

  constructor(present: Required<Contents>) {
    this.present = present;
  }

  write(target: Target, cluster: number, pattern: number): void {
    this.present = { ...this.present, [target]: this.present[target].with(cluster, pattern) };
  }

  take(name: string, held: readonly Target[], after: Power, internal: boolean): void {
    const contents = Object.fromEntries(held.map((target) => [target, this.present[target]]));
    this.snapshots.set(name, { name, parent: this.current, contents, after, internal });
    this.current = name;
  }

  revert(name: string, power: Power | undefined): void {
    const snapshot = this.snapshots.get(name);
    if (snapshot === undefined) throw new RangeError(name);
    this.present = { ...this.present, ...snapshot.contents };
    this.current = name;
    this.power = power ?? snapshot.after;
  }

  /** With everything below it, parents first. */
  subtree(name: string): string[] {
    const children = [...this.snapshots.values()].filter(({ parent }) => parent === name);
    return [name, ...children.flatMap((child) => this.subtree(child.name))];
  }

  remove(names: readonly string[]): void {
    const gone = new Set(names);
    const remaining = (name: string | undefined): string | undefined => {
      let found = name;
      while (found !== undefined && gone.has(found)) found = this.snapshots.get(found)?.parent;
      return found;
    };
    for (const snapshot of this.snapshots.values()) snapshot.parent = remaining(snapshot.parent);
    this.current = remaining(this.current);
    for (const name of names) this.snapshots.delete(name);
  }
}
