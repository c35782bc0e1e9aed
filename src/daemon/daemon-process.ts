/** The daemon as a process: options, log, signals, exit code, and word to the client that started it. */
import { pino } from "pino";
import { errorRegistry } from "../base/error-registry.ts";
import { asQmError, type ErrorJson } from "../base/errors.ts";
import { readPackageVersion } from "../client/package-version.ts";
import type { Compose } from "./composition.ts";
import { daemonUsage, parseDaemonCommand, type DaemonConfig } from "./config.ts";
import { runDaemon } from "./run-daemon.ts";

/** What a daemon with an IPC channel sends once, when it is ready or has failed to start. */
export type StartReport = { readonly ready: true } | { readonly error: ErrorJson };

/** Runs a daemon until a signal or idleness ends it; resolves to the process's exit code. */
export async function runDaemonProcess(argv: readonly string[], compose: Compose): Promise<number> {
  try {
    const command = parseDaemonCommand(argv, process.env);
    if (command.kind === "help") process.stdout.write(daemonUsage);
    else if (command.kind === "version") process.stdout.write(`${readPackageVersion()}\n`);
    else await runUntilSignal(command.config, compose);
    return 0;
  } catch (error) {
    const qmError = asQmError(error);
    process.stderr.write(`error: ${qmError.message}\n`);
    if (qmError.next !== undefined) process.stderr.write(`next: ${qmError.next}\n`);
    await reportStart({ error: qmError.toJSON() });
    return errorRegistry[qmError.code].exit;
  }
}

async function runUntilSignal(config: DaemonConfig, compose: Compose): Promise<void> {
  const logger = pino({ level: config.logLevel }, pino.destination({ fd: 2, sync: true }));
  const daemon = await runDaemon(config, compose, logger);
  const onSignal = (signal: NodeJS.Signals) => {
    logger.info({ signal }, "signal");
    // The next one has its default effect and ends the process at once. A failure reaches the `await` below.
    process.off("SIGTERM", onSignal).off("SIGINT", onSignal);
    daemon.stop().catch(() => undefined);
  };
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  await reportStart({ ready: true });
  await daemon.stopped;
  logger.info("stopped");
}

/** Resolves when the report is sent, or cannot be: a client that went away does not matter to the daemon. */
async function reportStart(report: StartReport): Promise<void> {
  if (process.send === undefined || !process.connected) return;
  await new Promise<void>((resolve) => {
    process.send?.(report, undefined, undefined, () => resolve());
  });
  process.disconnect?.();
}
