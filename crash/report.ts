/** The campaign's figures: a table by operation, point and victim, and a line for each failure with the command that makes it again. */
import { failureKinds, type FailureKind } from "./failure.ts";
import type { RunResult } from "./run.ts";

export interface Row {
  readonly operation: string;
  readonly point: string;
  readonly victim: string;
  readonly runs: number;
  readonly failed: number;
}

export interface Report {
  readonly seed: number;
  readonly first: number;
  readonly runs: number;
  readonly tookMs: number;
  /** Writes that were acknowledged and looked for. */
  readonly acknowledged: number;
  /** Clusters that killed QEMUs left allocated: qcow2's own, and no fault. */
  readonly leaks: number;
  /** Runs with a failure of that kind. */
  readonly failures: Readonly<Record<FailureKind, number>>;
  readonly rows: readonly Row[];
  readonly failed: readonly (RunResult & { readonly replay: string })[];
}

export function summarize(
  results: readonly RunResult[],
  { seed, first, tookMs, only }: { seed: number; first: number; tookMs: number; only?: string },
): Report {
  const rows = new Map<string, Row>();
  for (const { operation, point, victim, failures } of results) {
    const key = [operation, point, victim].join("\0");
    const { runs = 0, failed = 0 } = rows.get(key) ?? {};
    rows.set(key, { operation, point, victim, runs: runs + 1, failed: failed + Number(failures.length > 0) });
  }
  const replayOf = ({ run }: RunResult): string =>
    `npm run crash -- --seed ${seed} --first ${run} --runs 1${only === undefined ? "" : ` --only '${only}'`}`;
  const countOf = (kind: FailureKind): number =>
    results.filter(({ failures }) => failures.some((failure) => failure.kind === kind)).length;
  return {
    ...{ seed, first, tookMs },
    runs: results.length,
    acknowledged: results.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
    leaks: results.reduce((sum, { leaks }) => sum + leaks, 0),
    failures: Object.fromEntries(failureKinds.map((kind) => [kind, countOf(kind)])) as Report["failures"],
    rows: [...rows].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row),
    failed: results
      .filter(({ failures }) => failures.length > 0)
      .map((result) => ({ ...result, replay: replayOf(result) })),
  };
}

export function formatReport(report: Report): string {
  const { rows, failed, failures } = report;
  const header = ["operation", "point", "victim", "runs", "failed"];
  const cells = rows.map((row) => [row.operation, row.point, row.victim, String(row.runs), String(row.failed)]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...cells.map((line) => line[column]?.length ?? 0)),
  );
  const align = (line: readonly string[]): string =>
    `| ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const lines = [
    align(header),
    `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`,
    ...cells.map(align),
    "",
    `seed ${report.seed}, runs ${report.first} to ${report.first + report.runs - 1}, ${(report.tookMs / 1000).toFixed(0)} s; ` +
      `${report.acknowledged} acknowledged writes looked for; ${report.leaks} leaked clusters (no fault)`,
    ...Object.entries(failures).map(([kind, count]) => `${kind}: ${count}`),
    ...failed.map(
      (result) =>
        `FAILED ${result.operation}, ${result.victim} at ${result.point}, disks ${result.disks.join("+")}: ` +
        `${result.failures.map(({ kind, what }) => `${kind}: ${what}`).join("; ")}; answer: ${result.answer}\n  ${result.replay}`,
    ),
  ];
  return lines.join("\n");
}
