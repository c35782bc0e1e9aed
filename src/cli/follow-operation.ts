/** Following an operation to its end, with progress. */
import type { OperationView } from "../client/index.ts";
import type { CliContext } from "./context.ts";
import { interruptedExitCode, untilInterrupt } from "./interrupt.ts";
import { exitCodeOf } from "./exit-code.ts";
import { printError, type ReportedError } from "./output.ts";
import { createProgress } from "./progress.ts";

/**
 * Shows the operation until it ends; with `--json` a line for each change. Sets the exit code: that of its error when it
 * failed, 130 when Ctrl-C ended the waiting, in which case the operation goes on and the user is told how to get back to it.
 * Returns the final view when the operation succeeded.
 */
export async function followOperation(context: CliContext, id: string): Promise<OperationView | undefined> {
  const { io, client, json, out } = context;
  const progress = createProgress(io);
  let view: OperationView | undefined;
  await untilInterrupt(io, async (signal) => {
    try {
      for await (view of client.watchOperation(id, signal)) {
        if (json) out.json(view);
        else progress.update(view);
      }
    } finally {
      progress.end();
    }
  });
  if (view === undefined || view.state === "running") {
    printDetached(context, `operation ${id} goes on`, id);
    return undefined;
  }
  return reportEnd(context, view);
}

/** For an operation that has ended: the view when it succeeded; otherwise its error is printed and the exit code set. */
export function reportEnd(context: CliContext, view: OperationView): OperationView | undefined {
  if (view.state === "succeeded") return view;
  const error: ReportedError = view.error ?? {
    code: view.state === "cancelled" ? "QM_CANCELLED" : "QM_OPERATION_FAILED",
    message: `${view.kind} of domain '${view.domain}' ${view.state === "cancelled" ? "was cancelled" : "failed"}`,
  };
  printError(context.io, error, context.json);
  context.exitCode = exitCodeOf(error.code);
  return undefined;
}

/** Tells after a Ctrl-C that the work goes on, and how to get back to it. */
export function printDetached(context: CliContext, what: string, id: string | undefined): void {
  const { io } = context;
  context.exitCode = interruptedExitCode;
  if (context.json) return;
  io.stderr.write(`${what}\n`);
  if (id === undefined) io.stderr.write("next: `qmirror operation-list --running` shows it\n");
  else
    io.stderr.write(
      `next: \`qmirror operation-watch ${id}\` watches it, \`qmirror operation-cancel ${id}\` cancels it\n`,
    );
}

/**
 * Waits for `request`, which the daemon answers when the work is done. Undefined, with the exit code set, after Ctrl-C: the
 * daemon goes on.
 */
export async function waitForAnswer<T>(
  context: CliContext,
  domain: string,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  return untilInterrupt(context.io, async (signal) => {
    try {
      return await request(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      const running = await context.client.listOperations({ domain, running: true }).catch(() => []);
      printDetached(context, "the daemon goes on with it", running[0]?.id);
      return undefined;
    }
  });
}
