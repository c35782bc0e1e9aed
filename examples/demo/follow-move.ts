/** Follows a migration and keeps, beside its steps, how far the guest had come. */
import type { OperationView } from "../../src/api-types/index.ts";
import type { QmirrorClient } from "../../src/client/index.ts";
import { followSerial, readSerialLog } from "../../src/testing/witness/serial-log.ts";
import type { Screen } from "./screen.ts";

/** The steps of an operation, gathered under what they are for. */
const phases: Readonly<Record<string, readonly string[]>> = {
  prepare: ["create-files", "prepare-images"],
  snapshot: ["take-snapshot"],
  mirror: ["start-mirrors", "await-ready"],
  copy: ["copy-layers"],
  verify: ["verify-copies"],
  pivot: ["attach-backing", "prepare-pivot", "decide-pivot", "finish-pivot"],
  tidy: ["close-source", "merge-overlays", "remove-source"],
};

const explanations: Readonly<Record<string, string>> = {
  prepare: "empty images made and opened, nothing changed yet",
  snapshot: "all disks at one instant; the old images no longer change",
  mirror: "every new write now goes to both sides",
  pivot: "all disks held, decision on disk, all disks on the target",
  tidy: "source closed, overlays merged: chains are as long as before",
};

const mebibyte = 1024 * 1024;

export interface Move {
  readonly final: OperationView;
  readonly elapsedMs: number;
  /** The longest guest write that overlapped the pivot, and the longest of the whole migration. */
  readonly pivotStallMs: number;
  readonly longestWriteMs: number;
}

export interface FollowOptions {
  readonly client: QmirrorClient;
  readonly screen: Screen;
  readonly serial: string;
  readonly disks: number;
  readonly signal: AbortSignal;
}

/** Resolves when the operation has ended and the guest has gone on writing after it. */
export async function followMove(operation: OperationView, options: FollowOptions): Promise<Move> {
  const { client, screen, serial, disks, signal } = options;
  const countWrites = async (): Promise<number> => (await readSerialLog(serial)).writes.length;
  const startedMs = performance.now();
  const firstWrite = await countWrites();
  const entered = new Map<string, number>();
  let last = operation;
  for await (const view of client.watchOperation(operation.id, signal)) {
    const phase = phaseOf(view.step);
    if (phase !== phaseOf(last.step)) finishPhase(screen, last);
    if (phase !== undefined && !entered.has(phase)) entered.set(phase, await countWrites());
    if (view.state === "running") drawProgress(screen, view);
    last = view;
  }
  signal.throwIfAborted();
  if (last.state === "succeeded") finishPhase(screen, last);
  const elapsedMs = performance.now() - startedMs;

  const { writes } = await followSerial(serial, (await countWrites()) + 10 * disks, signal);
  // A report reaches the console a little after its write: a margin of one round of writes on either side
  const latencies = writes.map(({ latencyUs }) => latencyUs / 1000);
  const pivotFrom = Math.max(0, (entered.get("pivot") ?? firstWrite) - disks);
  const pivotTo = (entered.get("tidy") ?? writes.length) + disks;
  return {
    final: last,
    elapsedMs,
    pivotStallMs: Math.max(...latencies.slice(pivotFrom, pivotTo)),
    longestWriteMs: Math.max(...latencies.slice(firstWrite)),
  };
}

function phaseOf(step: string): string | undefined {
  return Object.keys(phases).find((phase) => phases[phase]?.includes(step));
}

function drawProgress(screen: Screen, view: OperationView): void {
  const phase = phaseOf(view.step);
  if (phase !== "copy" && phase !== "verify") return;
  const { doneBytes, totalBytes } = sumProgress(view);
  if (totalBytes > 0) screen.bar(phase, doneBytes / totalBytes, describeBytes(view));
}

function finishPhase(screen: Screen, view: OperationView): void {
  const phase = phaseOf(view.step);
  if (phase === undefined) return;
  const explanation = explanations[phase];
  if (explanation === undefined) screen.endBar(phase, describeBytes(view));
  else screen.say(`${phase.padEnd(9)} ${explanation}`);
}

function describeBytes(view: OperationView): string {
  const { doneBytes, totalBytes } = sumProgress(view);
  return `${(doneBytes / mebibyte).toFixed(0)} of ${(totalBytes / mebibyte).toFixed(0)} MiB`;
}

function sumProgress({ progress }: OperationView): { doneBytes: number; totalBytes: number } {
  return {
    doneBytes: progress.reduce((sum, disk) => sum + disk.doneBytes, 0),
    totalBytes: progress.reduce((sum, disk) => sum + disk.totalBytes, 0),
  };
}
