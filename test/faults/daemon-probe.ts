/** Loaded into a daemon before it starts: on SIGUSR2 it collects its garbage and prints what it holds. Needs `--expose-gc`. */
import { setImmediate as turn } from "node:timers/promises";

export interface Held {
  readonly heapBytes: number;
  readonly rssBytes: number;
}

process.on("SIGUSR2", () => void tell());

async function tell(): Promise<void> {
  // What one collection sets free may have kept something else that the next one finds.
  for (let round = 0; round < 4; round++) {
    globalThis.gc?.();
    await turn();
  }
  const { heapUsed: heapBytes, rss: rssBytes } = process.memoryUsage();
  process.stdout.write(`${JSON.stringify({ heapBytes, rssBytes } satisfies Held)}\n`);
}
