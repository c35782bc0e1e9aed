/** The report for people. */
import { copierNames } from "./copy.ts";
import type { Compared, Report, Row } from "./report.ts";

const figures = ["create", "pivot", "stall", "steady"] as const;

export function formatReport({ machine, runs, rows, copy, targets }: Report): string {
  const libvirt = machine.libvirt === null ? "no libvirt" : `libvirt ${machine.libvirt}`;
  const table = [
    ["disks", "load", "figure", "ours ms", "floor ms", "libvirt ms", "/ floor", "/ libvirt"],
    ...rows.flatMap((row) => figures.flatMap((figure) => formatRow(row, figure))),
  ];
  const copies = [
    ["files", "source", ...copierNames.map((name) => `${name} MiB/s`)],
    ...copy.rows.map(({ files, cached, mibPerS }) => [
      String(files),
      cached ? "cached" : "uncached",
      ...copierNames.map((name) => mibPerS[name].toFixed(0)),
    ]),
  ];
  const verdicts = [
    ["target", "limit", "value", "met"],
    ...targets.map(({ name, limit, value, met }) => [name, String(limit), value.toFixed(2), met ? "yes" : "NO"]),
  ];
  return [
    `Medians of ${runs}, on ${machine.cores} cores: QEMU ${machine.qemu} (tcg), ${libvirt}, Node ${machine.node}`,
    "create: request until all mirrors are ready; pivot: request until done; stall: longest guest write during the pivot;",
    "steady: longest guest write before it. floor: the same commands sent by a bare script.",
    "",
    alignColumns(table),
    "",
    `Copying images of ${copy.sizeBytes / 1024 ** 2} MiB, fsync included; cached: the source is in memory`,
    alignColumns(copies),
    "",
    alignColumns(verdicts),
  ].join("\n");
}

function formatRow(row: Row, figure: (typeof figures)[number]): string[][] {
  const compared: Compared | null = row[figure];
  if (compared === null) return [];
  const { ours, floor, libvirt, ratioFloor, ratioLibvirt } = compared;
  const values = [ours.toFixed(1), floor.toFixed(1), libvirt?.toFixed(1) ?? "-"];
  return [[String(row.disks), row.load, figure, ...values, ratioFloor.toFixed(2), ratioLibvirt?.toFixed(2) ?? "-"]];
}

/** Text columns to the left, figures to the right. */
function alignColumns(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const isText = (column: number): boolean => lines.slice(1).every((line) => !/^[\d.-]+$/.test(line[column] ?? ""));
  return lines
    .map((line) =>
      line
        .map((cell, column) => (isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
