/** Reads what the witness guest reports on its serial console, from the file of QEMU's `-serial file:PATH`. */
import { watch } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { QmError, errorText } from "../../base/errors.ts";

export interface AcknowledgedWrite {
  readonly sequence: number;
  /** Index into the disks of the command line. */
  readonly disk: number;
  readonly latencyUs: number;
}

/** Everything that the guest reported so far. A report is written after its write was durable, so it may lag behind. */
export interface WitnessReport {
  /** True once the guest has reached its writer. */
  readonly started: boolean;
  /** Every acknowledged write, in the order of writing. */
  readonly writes: readonly AcknowledgedWrite[];
  /** The last acknowledged sequence number of each disk that has one. */
  readonly acknowledged: ReadonlyMap<number, number>;
  /** The longest write in microseconds; 0 when there is none. */
  readonly maxLatencyUs: number;
  /** The guest's own error: it stopped writing. */
  readonly failure?: { readonly sequence: number; readonly disk: number; readonly errno: number };
}

/** The report in the serial file as it is now. An incomplete last line does not count. Throws `QM_IO` when it cannot be read. */
export async function readSerialLog(path: string): Promise<WitnessReport> {
  const log = new SerialLog(path);
  try {
    await log.readMore(false);
    return log.report();
  } finally {
    await log.close();
  }
}

/**
 * Waits until the guest has acknowledged at least `writes` writes (over all disks), then gives the report. The file may appear
 * later; its directory must exist. Throws `QM_CANCELLED` when the signal fires, with the end of the console in
 * `fields.console`; `QM_IO` when the guest reports a failed write or the file cannot be read.
 */
export async function followSerial(path: string, writes: number, signal?: AbortSignal): Promise<WitnessReport> {
  const log = new SerialLog(path);
  let wake = Promise.withResolvers<void>();
  const ring = () => wake.resolve();
  const watcher = watch(dirname(path), (_, name) => {
    if (name === null || name === basename(path)) ring();
  });
  let watchError: Error | undefined;
  watcher.on("error", (error) => {
    watchError = error;
    ring();
  });
  signal?.addEventListener("abort", ring);
  try {
    for (;;) {
      // A change after this line rings again, so that none between reading and waiting is missed
      wake = Promise.withResolvers<void>();
      await log.readMore(true);
      if (log.writeCount >= writes) return log.report();
      if (log.failure !== undefined) {
        const { sequence, disk, errno } = log.failure;
        throw new QmError("QM_IO", {
          what: `guest write ${sequence} to disk`,
          path: String(disk),
          reason: `errno ${errno}`,
        });
      }
      if (signal?.aborted === true) {
        const what = `waiting for ${writes} acknowledged writes (there are ${log.writeCount})`;
        throw new QmError("QM_CANCELLED", { what, console: log.tail }, { cause: signal.reason });
      }
      if (watchError !== undefined) {
        throw new QmError("QM_IO", { what: "watching", path, reason: watchError.message }, { cause: watchError });
      }
      await wake.promise;
    }
  } finally {
    signal?.removeEventListener("abort", ring);
    watcher.close();
    await log.close();
  }
}

const tailCharacters = 2000;

class SerialLog {
  readonly #path: string;
  #file: FileHandle | undefined;
  #rest = "";
  #started = false;
  readonly #writes: AcknowledgedWrite[] = [];
  readonly #acknowledged = new Map<number, number>();
  #maxLatencyUs = 0;
  failure: WitnessReport["failure"];
  /** The end of what was read. */
  tail = "";

  constructor(path: string) {
    this.#path = path;
  }

  get writeCount(): number {
    return this.#writes.length;
  }

  /** Takes in what was appended since the last call; with `mayBeMissing` a file that does not exist yet is empty. */
  async readMore(mayBeMissing: boolean): Promise<void> {
    try {
      this.#file ??= await open(this.#path, "r");
      const chunk = Buffer.alloc(65536);
      for (;;) {
        const { bytesRead } = await this.#file.read(chunk, 0, chunk.length, null);
        if (bytesRead === 0) return;
        this.#takeText(chunk.toString("latin1", 0, bytesRead));
      }
    } catch (error) {
      if (mayBeMissing && this.#file === undefined && (error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw new QmError("QM_IO", { what: "reading", path: this.#path, reason: errorText(error) }, { cause: error });
    }
  }

  report(): WitnessReport {
    const failure = this.failure === undefined ? {} : { failure: this.failure };
    const [writes, acknowledged] = [[...this.#writes], new Map(this.#acknowledged)];
    return { started: this.#started, writes, acknowledged, maxLatencyUs: this.#maxLatencyUs, ...failure };
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  #takeText(text: string): void {
    this.tail = (this.tail + text).slice(-tailCharacters);
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#takeLine(line.trimEnd());
  }

  #takeLine(line: string): void {
    if (line === "S") this.#started = true;
    const [, kind, ...digits] = /^([WE]) (\d+) (\d+) (\d+)$/.exec(line) ?? [];
    const [sequence = 0, disk = 0, value = 0] = digits.map(Number);
    if (kind === "E") this.failure = { sequence, disk, errno: value };
    if (kind !== "W") return;
    this.#writes.push({ sequence, disk, latencyUs: value });
    this.#acknowledged.set(disk, sequence);
    this.#maxLatencyUs = Math.max(this.#maxLatencyUs, value);
  }
}
