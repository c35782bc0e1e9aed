/** Ctrl-C while the daemon works: the first one stops waiting, a second one has its usual effect. */
import type { CliIo } from "./io.ts";

/** Runs `wait` with a signal that aborts at the first Ctrl-C. */
export async function untilInterrupt<T>(io: CliIo, wait: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = io.onInterrupt(() => {
    stop();
    controller.abort();
  });
  try {
    return await wait(controller.signal);
  } finally {
    stop();
  }
}

/** Exit code of a command that Ctrl-C ended: as shells count a death by SIGINT. */
export const interruptedExitCode = 130;
