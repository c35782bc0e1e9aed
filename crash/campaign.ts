/** Many runs, some at once. */
import type { OperationName } from "./operations.ts";
import { summarize, type Report } from "./report.ts";
import { carryOut, type RunResult } from "./run.ts";
import { deriveScenario } from "./scenario.ts";

export interface CampaignOptions {
  readonly seed: number;
  /** The number of the first run. */
  readonly first: number;
  readonly runs: number;
  /** So many at once. */
  readonly jobs: number;
  readonly only?: OperationName;
}

/** When `signal` fires no run is begun any more; the report is of those that were carried out. */
export async function runCampaign(
  { seed, first, runs, jobs, only }: CampaignOptions,
  signal: AbortSignal,
  onResult: (result: RunResult) => void = () => undefined,
): Promise<Report> {
  const began = performance.now();
  const results: RunResult[] = [];
  let next = first;
  const work = async (): Promise<void> => {
    while (next < first + runs && !signal.aborted) {
      const result = await carryOut(deriveScenario(seed, next++, only));
      results.push(result);
      onResult(result);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  const tookMs = Math.round(performance.now() - began);
  const ordered = results.toSorted((a, b) => a.run - b.run);
  return summarize(ordered, { seed, first, tookMs, ...(only === undefined ? {} : { only }) });
}
