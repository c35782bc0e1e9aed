/** Events: kept in the state file, and passed on to whoever watches. */
import { BoundedQueue } from "../base/bounded-queue.ts";
import { QmError, isQmError } from "../base/errors.ts";
import type { EventView } from "../api-types/index.ts";
import type { Store } from "../journal/store.ts";

const keptEvents = 10_000;
const waitingEvents = 1_000;
const pageSize = 500;

export class EventLog {
  readonly #store: Store;
  readonly #watchers = new Set<(event: EventView) => void>();

  constructor(store: Store) {
    this.#store = store;
    store.events.prune(keptEvents);
  }

  append(domain: string, type: EventView["type"], detail: EventView["detail"]): void {
    const event = { ...this.#store.events.append({ domain, type, detail }), type };
    for (const watcher of this.#watchers) watcher(event);
  }

  /** Past events after `since`, then new ones until `signal` aborts. A watcher that falls behind gets `QM_QMP_OVERFLOW`. */
  async *watch(filter: { domain?: string; since?: number }, signal: AbortSignal): AsyncIterable<EventView> {
    const queue = new BoundedQueue<EventView>(waitingEvents);
    const watcher = (event: EventView): void => {
      if (!queue.push(event)) queue.end(new QmError("QM_QMP_OVERFLOW", { limit: waitingEvents }));
    };
    this.#watchers.add(watcher);
    try {
      let last = filter.since;
      if (last !== undefined) {
        for (let page = this.#page(last); page.length > 0; page = this.#page(last)) {
          for (const event of page) {
            last = event.seq;
            if (matches(event, filter)) yield event;
          }
        }
      }
      for (;;) {
        const event = await queue.take("watching events", signal);
        if (event.seq > (last ?? 0) && matches(event, filter)) yield event;
      }
    } catch (error) {
      if (!isQmError(error, "QM_CANCELLED")) throw error;
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  #page(since: number): EventView[] {
    return this.#store.events.after(since, pageSize).map((row) => ({ ...row, type: row.type as EventView["type"] }));
  }
}

function matches(event: EventView, filter: { domain?: string }): boolean {
  return filter.domain === undefined || event.domain === filter.domain;
}
