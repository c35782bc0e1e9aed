/**
 * The daemon that a run kills: a process of its own that serves the use cases over its IPC channel, and names the points that its
 * engine comes to. The channel's end ends it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asQmError } from "../src/base/errors.ts";
import { compose } from "../src/daemon/compose.ts";
import type { FromDaemon, Plot, ToDaemon } from "./daemon-messages.ts";

const [stateDir = "", runtimeDir = ""] = process.argv.slice(2);
const noLog = { info: () => undefined, warn: () => undefined, error: () => undefined };
let plot: Plot | undefined;
let reached = -1;
let failedAt: number | undefined;

// Those are for the campaign, which lets its runs come to their end; a terminal sends them to both.
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => undefined);
process.on("disconnect", () => process.exit(0));
const service = await compose({ stateDir, runtimeDir, fault }, noLog);
process.on("message", (message: ToDaemon) => void take(message));
tell({ kind: "ready" });

async function take(message: ToDaemon): Promise<void> {
  if (message.kind === "plot") {
    plot = message.plot;
    reached = -1;
    tell({ kind: "plotted" });
  } else if (message.kind === "close") {
    await service.close();
    process.exit(0);
  } else {
    const { id, method, args } = message;
    try {
      // The caller's side has the types of both: see `DaemonHandle.call`.
      const useCase = service.facade[method] as (...args: readonly unknown[]) => Promise<unknown>;
      const signal = method === "waitOperation" ? [AbortSignal.timeout(30_000)] : [];
      tell({ kind: "answer", id, value: await useCase(...args, ...signal) });
    } catch (error) {
      tell({ kind: "refusal", id, error: asQmError(error).toJSON() });
    }
  }
}

function fault(point: string): Promise<void> {
  if (plot === undefined) return Promise.resolve();
  reached += 1;
  if (failedAt === undefined && reached === plot.failIndex) {
    failedAt = reached;
    return Promise.reject(new Error(`made to fail ${point}`));
  }
  const countedFrom = plot.failIndex === undefined ? 0 : failedAt === undefined ? Infinity : failedAt + 1;
  if (reached !== countedFrom + plot.index) return Promise.resolve();
  const { victim } = plot;
  plot = undefined;
  // Told before anybody dies: a message that was sent is in the channel.
  return new Promise((resolve) => {
    process.send?.({ kind: "point", point } satisfies FromDaemon, undefined, undefined, () => {
      if (victim !== "daemon") killQemu();
      if (victim !== "qemu") process.kill(process.pid, "SIGKILL");
      resolve();
    });
  });
}

function killQemu(): void {
  for (const uuid of readdirSync(join(runtimeDir, "domains"))) {
    try {
      process.kill(Number(readFileSync(join(runtimeDir, "domains", uuid, "qemu.pid"), "utf8")), "SIGKILL");
    } catch {
      // It had ended, or was not started yet.
    }
  }
}

function tell(message: FromDaemon): void {
  if (process.connected) process.send?.(message);
}
