/** One operation under way: its progress, who watches it, and how to cancel it. */
import type { OperationKind, OperationStall, OperationView } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";

/** The rate is measured over this long. */
const rateWindowMs = 5000;

interface Sample {
  readonly atMs: number;
  readonly doneBytes: number;
}

export class RunningOperation {
  readonly id: string;
  readonly kind: OperationKind;
  readonly domain: string;
  readonly startedAt = new Date().toISOString();
  readonly #controller = new AbortController();
  readonly #progress = new Map<string, { doneBytes: number; totalBytes: number }>();
  readonly #watchers = new Set<() => void>();
  #samples: Sample[] = [];
  bytesPerS: number;
  step = "begin";
  /** Past the point of no return. */
  decided = false;
  /** What its plan says that it ends with. */
  result: Readonly<Record<string, unknown>> = {};
  /** What holds it up; absent: nothing. */
  #stall: OperationStall | undefined;
  final: OperationView | undefined;
  /** Why it did not succeed, once it has ended. */
  failure: QmError | undefined;
  /** Resolves with the final view; never rejects. */
  readonly done: Promise<OperationView>;
  readonly #finish: (view: OperationView) => void;

  constructor(options: { id: string; kind: OperationKind; domain: string; bytesPerS: number }) {
    this.id = options.id;
    this.kind = options.kind;
    this.domain = options.domain;
    this.bytesPerS = options.bytesPerS;
    const { promise, resolve } = Promise.withResolvers<OperationView>();
    this.done = promise;
    this.#finish = resolve;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  cancel(): void {
    if (this.decided) {
      throw new QmError("QM_DOMAIN_BUSY", {
        domain: this.domain,
        operation: `${this.kind} is decided and can only go forward`,
      });
    }
    this.#controller.abort();
  }

  enterStep(step: string): void {
    this.step = step;
    this.#progress.clear();
    this.#samples = [];
    this.#notify();
  }

  reportProgress(disk: string, doneBytes: number, totalBytes: number): void {
    this.#progress.set(disk, { doneBytes, totalBytes });
    const atMs = performance.now();
    const sum = [...this.#progress.values()].reduce((total, progress) => total + progress.doneBytes, 0);
    this.#samples = [...this.#samples.filter((sample) => atMs - sample.atMs < rateWindowMs), { atMs, doneBytes: sum }];
    this.#notify();
  }

  setStall(stall: OperationStall | undefined): void {
    this.#stall = stall;
    this.#notify();
  }

  end(view: OperationView, failure: QmError | undefined): void {
    this.final = view;
    this.failure = failure;
    this.#notify();
    this.#finish(view);
  }

  /** Calls `watcher` after each change; returns the function that stops it. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  view(): OperationView {
    if (this.final !== undefined) return this.final;
    const progress = [...this.#progress].map(([target, { doneBytes, totalBytes }]) => ({
      target,
      doneBytes,
      totalBytes,
    }));
    const rate = this.#rate();
    const leftBytes = progress.reduce((left, disk) => left + disk.totalBytes - disk.doneBytes, 0);
    return {
      id: this.id,
      kind: this.kind,
      domain: this.domain,
      state: "running",
      step: this.step,
      startedAt: this.startedAt,
      progress,
      ...(this.#stall === undefined ? {} : { stall: this.#stall }),
      ...(rate === undefined ? {} : { bytesPerS: rate, secondsLeft: Math.ceil(leftBytes / rate) }),
    };
  }

  #rate(): number | undefined {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return undefined;
    const rate = ((last.doneBytes - first.doneBytes) * 1000) / (last.atMs - first.atMs);
    return rate > 0 ? Math.round(rate) : undefined;
  }

  #notify(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

/** The final view of an operation that succeeded; its error otherwise. */
export async function finished(running: RunningOperation): Promise<OperationView> {
  const view = await running.done;
  if (running.failure !== undefined) throw running.failure;
  return view;
}
