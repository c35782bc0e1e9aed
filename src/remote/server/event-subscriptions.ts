/** The events that one client has registered for. */
import type { EventView } from "../../api-types/index.ts";
import { QmError } from "../../base/errors.ts";
import type { Facade } from "../../service/facade.ts";
import {
  blockJob2Event,
  blockJobEvent,
  eventIds,
  lifecycleEvent,
  type Procedure,
  type WireDomain,
} from "../protocol/index.ts";
import { readBlockJobs, type BlockJobChange } from "./block-job-event.ts";
import type { JobTargets } from "./job-targets.ts";
import { toLifecycle } from "./lifecycle-event.ts";
import { toWireDomain } from "./views.ts";

/** A client that registers for more than this many at a time is broken. */
const maxRegistrations = 1_000;

interface Registration {
  readonly eventId: number;
  /** Null: every domain's. */
  readonly uuid: string | null;
}

type EventFacade = Pick<Facade, "domainDisks" | "getDomain" | "getOperation" | "listDomains" | "watchEvents">;

export interface EventOptions {
  readonly facade: EventFacade;
  readonly targets: JobTargets;
  /** Sends an event; its callback's id is in `value`. */
  send<A>(event: Procedure<A, unknown>, value: A): void;
  /** Called when no more events can be told: the client has to be told by the end of its connection. */
  fail(error: unknown): void;
  /** Ends the watching. */
  readonly signal: AbortSignal;
}

export class EventSubscriptions {
  readonly #options: EventOptions;
  readonly #registrations = new Map<number, Registration>();
  /** How domains were called when last seen: one that is gone can still be told of. */
  readonly #seen = new Map<string, WireDomain>();
  #lastId = 0;
  #watching = false;

  constructor(options: EventOptions) {
    this.#options = options;
  }

  /** Events that come after this returns are sent. The id of the registration. `QM_INVALID` for an event that does not exist. */
  async register(eventId: number, uuid: string | null): Promise<number> {
    if (eventId < 0 || eventId > eventIds.last) throw new QmError("QM_INVALID", { reason: `no event ${eventId}` });
    if (this.#registrations.size >= maxRegistrations) throw new QmError("QM_INVALID", { reason: "too many callbacks" });
    const id = this.#lastId;
    this.#lastId += 1;
    this.#registrations.set(id, { eventId, uuid });
    if (!this.#watching) {
      this.#watching = true;
      void this.#watch().catch((error: unknown) => this.#options.fail(error));
      for (const view of await this.#options.facade.listDomains()) this.#seen.set(view.name, toWireDomain(view));
    }
    return id;
  }

  deregister(id: number): void {
    if (!this.#registrations.delete(id)) throw new QmError("QM_INVALID", { reason: `no callback ${id}` });
  }

  async #watch(): Promise<void> {
    const { facade, signal } = this.#options;
    for await (const event of facade.watchEvents({}, signal)) await this.#tell(event);
  }

  async #tell(event: EventView): Promise<void> {
    const lifecycle = event.type === "lifecycle" ? toLifecycle(event.detail) : undefined;
    const blockJobs = await readBlockJobs(this.#options, event);
    if (lifecycle === undefined && blockJobs.length === 0) return;
    const domain = await this.#identify(event.domain);
    if (domain === undefined) return;
    for (const callbackId of this.#registered(eventIds.lifecycle, domain)) {
      if (lifecycle !== undefined) this.#options.send(lifecycleEvent, { callbackId, domain, ...lifecycle });
    }
    for (const change of blockJobs) await this.#tellBlockJob(domain, change);
  }

  async #tellBlockJob(domain: WireDomain, { target, type, status }: BlockJobChange): Promise<void> {
    for (const callbackId of this.#registered(eventIds.blockJob2, domain)) {
      this.#options.send(blockJob2Event, { callbackId, domain, target, type, status });
    }
    const byPath = this.#registered(eventIds.blockJob, domain);
    if (byPath.length === 0) return;
    const disks = await this.#options.facade.domainDisks(domain.uuid).catch(() => []);
    const path = disks.find((disk) => disk.target === target)?.chain[0]?.path ?? target;
    for (const callbackId of byPath) {
      this.#options.send(blockJobEvent, { callbackId, domain, path, type, status });
    }
  }

  /** Callbacks that want to know of this event of this domain. */
  #registered(eventId: number, domain: WireDomain): number[] {
    return [...this.#registrations]
      .filter(([, one]) => one.eventId === eventId && (one.uuid === null || one.uuid === domain.uuid))
      .map(([callbackId]) => callbackId);
  }

  /** Undefined: it was gone before it could be looked at. */
  async #identify(name: string): Promise<WireDomain | undefined> {
    try {
      const domain = toWireDomain(await this.#options.facade.getDomain(name));
      this.#seen.set(name, domain);
      return domain;
    } catch {
      const last = this.#seen.get(name);
      this.#seen.delete(name);
      return last === undefined ? undefined : { ...last, id: -1 };
    }
  }
}
