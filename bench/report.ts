/** From samples to the report: medians, ratios, targets. Pure. */
import type { ContenderName } from "./contender.ts";
import { copierNames, type CopyRow } from "./copy.ts";
import type { Load } from "./guests.ts";
import type { Figures } from "./measure.ts";
import type { SnapshotFigures } from "./snapshots.ts";
import { median } from "./statistics.ts";

export interface Machine {
  readonly cores: number;
  readonly qemu: string;
  readonly libvirt: string | null;
  readonly node: string;
}

/** Milliseconds, and ours divided by the others'. */
export interface Compared {
  readonly ours: number;
  readonly floor: number;
  readonly libvirt: number | null;
  readonly ratioFloor: number;
  readonly ratioLibvirt: number | null;
}

export interface Row {
  readonly disks: number;
  readonly load: Load;
  /** From the request until every mirror is ready. */
  readonly create: Compared;
  /** From the request until the guest is on its mirrors. */
  readonly pivot: Compared;
  /** The longest guest write during the pivot; null without writes. */
  readonly stall: Compared | null;
  /** The longest guest write with the mirrors in place, for comparison with the stall. */
  readonly steady: Compared | null;
}

export interface Target {
  readonly name: string;
  readonly limit: number;
  readonly value: number;
  readonly met: boolean;
}

export interface Report {
  readonly machine: Machine;
  readonly runs: number;
  readonly rows: readonly Row[];
  readonly copy: { readonly sizeBytes: number; readonly rows: readonly CopyRow[] };
  readonly snapshots: SnapshotFigures;
  readonly targets: readonly Target[];
}

export type Samples = ReadonlyMap<ContenderName, readonly Figures[]>;

export function summarize(disks: number, load: Load, samples: Samples): Row {
  const compared = (read: (figures: Figures) => number | undefined): Compared => {
    const of = (name: ContenderName): number =>
      median((samples.get(name) ?? []).flatMap((figures) => read(figures) ?? []));
    const [ours, floor] = [of("ours"), of("floor")];
    const libvirt = samples.has("libvirt") ? of("libvirt") : null;
    const ratioLibvirt = libvirt === null ? null : round(ours / libvirt);
    return {
      ours: round(ours),
      floor: round(floor),
      libvirt: libvirt === null ? null : round(libvirt),
      ratioFloor: round(ours / floor),
      ratioLibvirt,
    };
  };
  return {
    disks,
    load,
    create: compared(({ createMs }) => createMs),
    pivot: compared(({ pivotMs }) => pivotMs),
    stall: load === "idle" ? null : compared(({ stallMs }) => stallMs),
    steady: load === "idle" ? null : compared(({ steadyMs }) => steadyMs),
  };
}

const floorLimit = 1.3;
const libvirtLimit = 0.25;
const stallLimitMs = 10;

/** Only what was measured has a target. */
export function judge(rows: readonly Row[], copies: readonly CopyRow[]): Target[] {
  return [
    ...rows
      .filter(({ disks }) => disks > 1)
      .flatMap(({ disks, load, create, pivot }) =>
        Object.entries({ create, pivot }).flatMap(([verb, { ratioFloor, ratioLibvirt }]) => [
          atMost(`${verb}, ${disks} disks, ${load}: times the floor`, floorLimit, ratioFloor),
          ...(ratioLibvirt === null
            ? []
            : [atMost(`${verb}, ${disks} disks, ${load}: times libvirt`, libvirtLimit, ratioLibvirt)]),
        ]),
      ),
    ...rows.flatMap(({ disks, stall }) =>
      disks === 4 && stall !== null
        ? [atMost("stall in the pivot, 4 disks: ms more than the floor", stallLimitMs, round(stall.ours - stall.floor))]
        : [],
    ),
    ...copies.map(({ files, cached, mibPerS }) => {
      const fastest = Math.max(...copierNames.filter((name) => name !== "ours").map((name) => mibPerS[name]));
      const value = round(mibPerS.ours / fastest);
      const name = `copying ${files} ${cached ? "cached" : "uncached"} at once: times the fastest tool (at least)`;
      return { name, limit: 1, value, met: value >= 1 };
    }),
  ];
}

/** New tables of the image that takes the data are not the guest's: a twentieth more. */
const movedLimit = 1.05;

export function judgeSnapshots({ listed, listMs, daemonMib, parseMs, formatMs, deletions }: SnapshotFigures): Target[] {
  return [
    atMost(`listing ${listed} snapshots: ms`, 200, round(listMs)),
    atMost(`the daemon's memory by then: MiB`, 200, round(daemonMib)),
    atMost("parsing a snapshot of 16 disks: ms", 1, round(parseMs)),
    atMost("formatting a snapshot of 16 disks: ms", 1, round(formatMs)),
    ...deletions.map(({ baseMib, overlayMib, movedMib }) => {
      const name = `deleting, ${overlayMib} MiB on ${baseMib} MiB: data moved, times the smaller layer`;
      return atMost(name, movedLimit, round(movedMib / Math.min(baseMib, overlayMib)));
    }),
  ];
}

function atMost(name: string, limit: number, value: number): Target {
  return { name, limit, value, met: value <= limit };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
