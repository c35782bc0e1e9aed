/** Hands events to those who asked, none of whom can hold up the reader. */
import { BoundedQueue } from "../base/bounded-queue.ts";
import { QmError, isQmError } from "../base/errors.ts";
import type { EventListener, QmpEvent } from "./client-types.ts";

type Receiver = (event: QmpEvent) => void;

const waiting = "waiting for an event";

export class EventHub {
  readonly #handlers = new Set<Receiver>();
  readonly #listeners = new Set<QueuedListener>();
  #end: QmError | undefined;

  /** Calls handlers first, then fills queues. A handler's exception is its own: it is thrown outside the reader, uncaught. */
  dispatch(event: QmpEvent): void {
    // A copy: a handler that is added by a handler begins with the next event.
    for (const handler of Array.from(this.#handlers)) {
      try {
        handler(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    for (const listener of this.#listeners) {
      if (!listener.offer(event)) this.#listeners.delete(listener);
    }
  }

  onEvent(handler: Receiver): () => void {
    // A function of its own, so that the same handler may be registered twice.
    const registered: Receiver = (event) => handler(event);
    this.#handlers.add(registered);
    return () => this.#handlers.delete(registered);
  }

  subscribe(names: readonly string[] | undefined, limit: number): EventListener<QmpEvent> {
    const listener: QueuedListener = new QueuedListener(names, limit, () => this.#listeners.delete(listener));
    if (this.#end === undefined) this.#listeners.add(listener);
    else listener.end(this.#end);
    return listener;
  }

  /** No event will come any more: listeners reject with `error` once they have handed out what they hold. */
  end(error: QmError): void {
    this.#end = error;
    for (const listener of this.#listeners) listener.end(error);
    this.#listeners.clear();
    this.#handlers.clear();
  }
}

class QueuedListener implements EventListener<QmpEvent> {
  readonly #names: ReadonlySet<string> | undefined;
  readonly #limit: number;
  readonly #queue: BoundedQueue<QmpEvent>;
  readonly #onClose: () => void;

  constructor(names: readonly string[] | undefined, limit: number, onClose: () => void) {
    this.#names = names === undefined ? undefined : new Set(names);
    this.#limit = limit;
    this.#queue = new BoundedQueue(limit);
    this.#onClose = onClose;
  }

  /** False when the listener is of no more use. */
  offer(event: QmpEvent): boolean {
    if (this.#names?.has(event.event) === false || this.#queue.push(event)) return true;
    this.end(new QmError("QM_QMP_OVERFLOW", { limit: this.#limit }));
    return false;
  }

  end(error: QmError): void {
    this.#queue.end(error);
  }

  next(signal?: AbortSignal): Promise<QmpEvent> {
    return this.#queue.take(waiting, signal);
  }

  close(): void {
    this.end(new QmError("QM_CANCELLED", { what: waiting, closed: true }));
    this.#onClose();
  }

  /** Ends quietly with `close()`, with the error otherwise. */
  async *[Symbol.asyncIterator](): AsyncGenerator<QmpEvent, void> {
    try {
      for (;;) yield await this.next();
    } catch (error) {
      if (!isQmError(error, "QM_CANCELLED")) throw error;
    } finally {
      this.close();
    }
  }
}
