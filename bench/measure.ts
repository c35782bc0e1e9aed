/** One boot of a guest and its figures. */
import { readSerialLog, followSerial } from "../src/testing/witness/serial-log.ts";
import { BareQmp } from "./bare-qmp.ts";
import type { Contender } from "./contender.ts";
import type { BenchGuest, Load } from "./guests.ts";

export interface Figures {
  readonly createMs: number;
  readonly pivotMs: number;
  /** The longest guest write that was under way during the pivot; absent without writes. */
  readonly stallMs?: number;
  /** The longest guest write with the mirrors in place, before the pivot. */
  readonly steadyMs?: number;
}

const settledWrites = 60;
const bootTimeoutMs = 120_000;
const writesTimeoutMs = 30_000;

export interface BootedGuest {
  readonly contender: Contender;
  readonly guest: BenchGuest;
  readonly monitor: BareQmp;
}

/** Boots the guest until it has written, then makes it stand still. The contender ends it. */
export async function bootGuest(contender: Contender, guest: BenchGuest, signal: AbortSignal): Promise<BootedGuest> {
  await contender.boot(guest);
  await followSerial(guest.serial, 1, limit(signal, bootTimeoutMs));
  const monitor = await BareQmp.connect(guest.monitor);
  await monitor.send("stop");
  return { contender, guest, monitor };
}

/** Lets the guest run, and measures. */
export async function measureGuest(booted: BootedGuest, load: Load, signal: AbortSignal): Promise<Figures> {
  const { contender, guest, monitor } = booted;
  await monitor.send("cont");
  if (load === "idle") {
    const createMs = await time(() => contender.create(guest));
    return { createMs, pivotMs: await time(() => contender.pivot(guest)) };
  }
  const { serial } = guest;
  await awaitWrites(serial, settledWrites, signal);
  const createMs = await time(() => contender.create(guest));
  const mirrored = await countWrites(serial);
  await awaitWrites(serial, settledWrites, signal);
  const before = await countWrites(serial);
  const pivotMs = await time(() => contender.pivot(guest));
  // The write that was under way at the end is reported after it, and the console lags a little.
  const { writes } = await awaitWrites(serial, 3, signal);
  const longestMs = (from: number, to?: number): number =>
    Math.max(...writes.slice(from, to).map(({ latencyUs }) => latencyUs)) / 1000;
  return { createMs, pivotMs, stallMs: longestMs(before), steadyMs: longestMs(mirrored, before) };
}

async function countWrites(serial: string): Promise<number> {
  return (await readSerialLog(serial)).writes.length;
}

/** Until there are `more` writes than now. */
async function awaitWrites(serial: string, more: number, signal: AbortSignal) {
  return await followSerial(serial, (await countWrites(serial)) + more, limit(signal, writesTimeoutMs));
}

function limit(signal: AbortSignal, timeoutMs: number): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
}

export async function time(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
