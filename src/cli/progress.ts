/** The progress of an operation on stderr: one line that is redrawn on a terminal, a line now and then elsewhere. */
import type { OperationView } from "../client/index.ts";
import type { CliIo } from "./io.ts";
import { makeSafe } from "./safe-text.ts";
import { formatBytes, formatDuration } from "./units.ts";

/** Between lines that are not redrawn; a new step is shown at once. */
const lineIntervalMs = 5000;
const carriageReturnAndErase = "\r\u001b[K";

export interface Progress {
  update(view: OperationView): void;
  /** Leaves the cursor at the start of a line of its own. Idempotent. */
  end(): void;
}

export function createProgress(io: CliIo): Progress {
  const { stderr } = io;
  let drawn = false;
  let shownStep: string | undefined;
  let shownAtMs = -Infinity;
  return {
    update(view) {
      const text = describeProgress(view);
      if (stderr.isTty) {
        // A line that wraps could not be redrawn.
        stderr.write(carriageReturnAndErase + [...text].slice(0, stderr.columns - 1).join(""));
        drawn = true;
      } else if (view.step !== shownStep || io.nowMs() - shownAtMs >= lineIntervalMs) {
        stderr.write(`${text}\n`);
        shownStep = view.step;
        shownAtMs = io.nowMs();
      }
    },
    end() {
      if (drawn) stderr.write("\n");
      drawn = false;
    },
  };
}

/** `copy: 45.3 % (4.5 GiB of 10.0 GiB, 3 disks), 112.0 MiB/s, 0:45 left`. */
export function describeProgress(view: OperationView): string {
  const { doneBytes, totalBytes } = sumProgress(view);
  const disks = view.progress.length === 1 ? view.progress[0]?.target : `${view.progress.length} disks`;
  const parts = [
    // First: a terminal's line may have no room for all.
    view.stall?.text,
    totalBytes === 0
      ? undefined
      : `${formatPercent(doneBytes, totalBytes)} (${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}, ${disks})`,
    view.bytesPerS === undefined || view.state !== "running" ? undefined : `${formatBytes(view.bytesPerS)}/s`,
    view.secondsLeft === undefined || view.state !== "running" ? undefined : `${formatDuration(view.secondsLeft)} left`,
  ].filter((part) => part !== undefined);
  const step = nameStep(view);
  return makeSafe(parts.length === 0 ? step : `${step}: ${parts.join(", ")}`);
}

/** The step that is under way, without its place in the plan. */
export function nameStep({ step }: OperationView): string {
  return step.replace(/^\d+ /, "");
}

/** `45.3 %`; `-` of nothing. Less than all is never shown as 100 %. */
export function formatPercent(doneBytes: number, totalBytes: number): string {
  if (totalBytes === 0) return "-";
  const percent = (100 * doneBytes) / totalBytes;
  return `${(doneBytes < totalBytes ? Math.min(percent, 99.9) : 100).toFixed(1)} %`;
}

export function sumProgress(view: OperationView): { doneBytes: number; totalBytes: number } {
  let doneBytes = 0;
  let totalBytes = 0;
  for (const disk of view.progress) {
    doneBytes += disk.doneBytes;
    totalBytes += disk.totalBytes;
  }
  return { doneBytes, totalBytes };
}
