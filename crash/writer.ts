/**
 * The scripted writer of a domain without a guest. Record `n` is one block of 4 KiB on disk `n % disks`, in a place of its own, and
 * it is written only when the record before it was acknowledged: what the disks hold of one instant is a beginning of that order.
 *
 * It writes through the guest's own device: `aio_write` of the monitor's `qemu-io` on the device's block backend, so that a held
 * disk holds it back as it holds a guest back. `-f` asks for a write that is on the disk when it ends. `qemu-io` prints its result
 * where nobody reads it; what counts as the acknowledgement is that the device's own count of ended writes has gone up, and that of
 * failed ones has not (`query-blockstats`).
 */
import { setTimeout as delay } from "node:timers/promises";
import { connectMonitor, type Monitor } from "../src/qemu/monitor.ts";
import { byteOf, maxRecords, offsetOf } from "./records.ts";

/** Between two records, so that places last for the longest run. */
const intervalMs = 3;
const lookMs = 1;

export class Writer {
  readonly #socket: string;
  readonly #disks: number;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  readonly #bells = new Set<() => void>();
  #pausing: PromiseWithResolvers<void> | undefined;
  #resumed = Promise.withResolvers<void>();
  /** Of the QEMU that it writes through; absent: there is none. To be asked while the writer is paused. */
  monitor: Monitor | undefined;
  /** Records that were begun: 1 to this. */
  issued = 0;
  readonly acknowledged = new Set<number>();

  constructor(socket: string, disks: number) {
    this.#socket = socket;
    this.#disks = disks;
    this.#running = this.#work();
  }

  /** Waits for that many more acknowledgements. Rejects when `signal` fires. */
  async awaitMore(count: number, signal: AbortSignal): Promise<void> {
    const wanted = this.acknowledged.size + count;
    while (this.acknowledged.size < wanted) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const ring = (): void => {
          this.#bells.delete(ring);
          signal.removeEventListener("abort", ring);
          resolve();
        };
        this.#bells.add(ring);
        signal.addEventListener("abort", ring);
      });
    }
  }

  /** No record is under way when it resolves. */
  async pause(): Promise<void> {
    this.#pausing = Promise.withResolvers<void>();
    await this.#pausing.promise;
  }

  resume(): void {
    this.#pausing = undefined;
    this.#resumed.resolve();
    this.#resumed = Promise.withResolvers<void>();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.resume();
    await this.#running;
  }

  async #work(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const monitor = await connectMonitor(this.#socket, { signal }).catch(() => undefined);
      // Nothing tells when a QEMU that is started has its socket.
      if (monitor === undefined) await delay(10, undefined, { signal }).catch(() => undefined);
      else {
        this.monitor = monitor;
        await this.#writeThrough(monitor).catch(() => undefined);
        this.monitor = undefined;
        await monitor.close();
      }
    }
    this.#pausing?.resolve();
  }

  async #writeThrough(monitor: Monitor): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted && monitor.state === "running") {
      if (this.#pausing !== undefined) {
        this.#pausing.resolve();
        await Promise.race([this.#resumed.promise, monitor.closed]);
        continue;
      }
      // A guest that stands still does not write, and its images may not be its own then.
      if ((await monitor.execute("query-status")).running && this.issued < maxRecords * this.#disks) {
        await this.#writeRecord(monitor, this.issued + 1);
      }
      await delay(intervalMs);
    }
  }

  async #writeRecord(monitor: Monitor, record: number): Promise<void> {
    const disk = record % this.#disks;
    const device = `/machine/peripheral/vd${String.fromCharCode(97 + disk)}/virtio-backend`;
    const before = await countWrites(monitor, device);
    this.issued = record;
    const what = `aio_write -f -P ${byteOf(record)} ${offsetOf(record, this.#disks)} 4k`;
    await monitor.execute("human-monitor-command", { "command-line": `qemu-io -d ${device} "${what}"` });
    for (;;) {
      const now = await countWrites(monitor, device);
      if (now.failed > before.failed) return;
      if (now.ended > before.ended) break;
      await delay(lookMs);
    }
    this.acknowledged.add(record);
    for (const ring of this.#bells) ring();
  }
}

async function countWrites(monitor: Monitor, device: string): Promise<{ ended: number; failed: number }> {
  const found = (await monitor.execute("query-blockstats", {})).find(({ qdev }) => qdev === device);
  if (found === undefined) throw new Error(`QEMU has no device ${device}`);
  return { ended: found.stats.wr_operations, failed: found.stats.failed_wr_operations };
}
