/** A queue between one producer that never waits and consumers that do. */
import { cancellation, throwIfAborted } from "./abort.ts";

export class BoundedQueue<T> {
  readonly #limit: number;
  readonly #values: T[] = [];
  readonly #takers = new Set<PromiseWithResolvers<T>>();
  #end: { readonly error: unknown } | undefined;

  /** At most `limit` values wait at a time. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Adds a value; false, and nothing added, when the queue is full or has ended. */
  push(value: T): boolean {
    if (this.#end !== undefined) return false;
    const [taker] = this.#takers;
    if (taker !== undefined) {
      this.#takers.delete(taker);
      taker.resolve(value);
      return true;
    }
    if (this.#values.length >= this.#limit) return false;
    this.#values.push(value);
    return true;
  }

  /**
   * The next value, in order. Rejects with `QM_CANCELLED` (`what` says of what) when `signal` aborts, losing no value; with the
   * queue's final error once it has ended and is empty.
   */
  async take(what: string, signal?: AbortSignal): Promise<T> {
    throwIfAborted(signal, what);
    if (this.#values.length > 0) return this.#values.shift() as T;
    if (this.#end !== undefined) throw this.#end.error;
    const taker = Promise.withResolvers<T>();
    this.#takers.add(taker);
    // Steps down at once: a value pushed right after the abort belongs to the next taker.
    const abort = () => {
      this.#takers.delete(taker);
      taker.reject(cancellation(what, signal));
    };
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await taker.promise;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Lets no more in; values that wait can still be taken, then `error` is thrown. The first call counts. */
  end(error: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    for (const taker of this.#takers) taker.reject(error);
    this.#takers.clear();
  }
}
