/** Follows a running domain's QEMU: its state, its mirrors, its end. */
import { QmError, errorText } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { freeBytes, saysFull } from "../image/space.ts";
import type { Store } from "../journal/store.ts";
import { queryJobs } from "../qemu/block-jobs.ts";
import type { Monitor } from "../qemu/monitor.ts";
import { followReboots } from "../qemu/power.ts";
import { findAgainPatiently } from "../qemu/process.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { DomainRegistry } from "./domain-registry.ts";
import { dropEndedCopies } from "./ended-copies.ts";
import type { EventLog } from "./event-log.ts";
import type { Operations } from "./operations.ts";

export interface WatchDeps {
  readonly store: Store;
  readonly registry: DomainRegistry;
  readonly events: EventLog;
  readonly operations: Operations;
  readonly logger: Logger;
  /** Aborted once the daemon is stopping: QEMU runs on without it. */
  readonly closing: AbortSignal;
}

export class MonitorWatch {
  readonly #deps: WatchDeps;

  constructor(deps: WatchDeps) {
    this.#deps = deps;
  }

  /** Call once for each connection that became the entry's monitor. */
  async follow(entry: DomainEntry, monitor: Monitor): Promise<void> {
    entry.monitor = monitor;
    monitor.onEvent((event) => {
      if (event.event === "STOP" || event.event === "RESUME") {
        entry.paused = event.event === "STOP";
        this.#deps.events.append(entry.name, "lifecycle", { event: entry.paused ? "suspended" : "resumed" });
      } else if (event.event === "JOB_STATUS_CHANGE" && event.data.status === "concluded") {
        void this.#mirrorEnded(entry, event.data.id).catch((error: unknown) => this.#log(entry, error));
      }
    });
    void monitor.closed.then(() => this.#afterClose(entry, monitor)).catch((error: unknown) => this.#log(entry, error));
    entry.paused = !(await monitor.execute("query-status")).running;
    if (entry.run?.adopted === false) await followReboots(monitor);
  }

  /** Brings a mirrored snapshot that no operation works on up to what QEMU says; `lost` where there is no QEMU. */
  async refreshMirrors(entry: DomainEntry): Promise<void> {
    await dropEndedCopies(this.#deps, entry);
    const snapshot = this.#deps.registry.mirroredSnapshot(entry);
    if (snapshot?.mirrors === undefined || entry.busy !== undefined) return;
    const jobs = entry.monitor === undefined ? [] : await queryJobs(entry.monitor);
    for (const disk of snapshot.mirrors.plan.disks) {
      if (disk.mirror === undefined) continue;
      const job = jobs.find(({ id }) => id === disk.mirror?.jobId);
      if (job !== undefined && job.status !== "concluded") continue;
      const state = entry.run === undefined ? "lost" : "broken";
      const reason = job?.error ?? (state === "lost" ? "QEMU ended" : "its job has ended");
      this.#setMirrorState(entry, disk.target, state, await explainEnd(reason, disk.mirror.image.path));
    }
  }

  async #mirrorEnded(entry: DomainEntry, jobId: string): Promise<void> {
    const disk = this.#deps.registry
      .mirroredSnapshot(entry)
      ?.mirrors?.plan.disks.find((candidate) => candidate.mirror?.jobId === jobId);
    await dropEndedCopies(this.#deps, entry);
    // While an operation has the domain, the job ended because that wanted it to, or it will say so itself.
    if (disk === undefined || entry.busy !== undefined || entry.monitor === undefined) return;
    const job = (await queryJobs(entry.monitor)).find(({ id }) => id === jobId);
    const reason = await explainEnd(job?.error ?? "its job has ended", disk.mirror?.image.path ?? "");
    this.#setMirrorState(entry, disk.target, "broken", reason);
  }

  #setMirrorState(entry: DomainEntry, target: string, state: "broken" | "lost", reason: string): void {
    const { store, registry, events } = this.#deps;
    const snapshot = registry.mirroredSnapshot(entry);
    const mirrors = snapshot?.mirrors;
    if (snapshot === undefined || mirrors === undefined) return;
    const present = mirrors.states[target];
    if (present?.state === state || present?.state === "lost") return;
    store.atomically(() => {
      registry.putSnapshot(entry, {
        ...snapshot,
        mirrors: { ...mirrors, states: { ...mirrors.states, [target]: { state, reason } } },
      });
      events.append(entry.name, "mirror", { snapshot: snapshot.name, disk: target, state, reason });
    });
  }

  async #afterClose(entry: DomainEntry, monitor: Monitor): Promise<void> {
    if (this.#deps.closing.aborted || entry.monitor !== monitor) return;
    const operation = entry.busy?.operation;
    if (operation !== undefined) await this.#deps.operations.find(operation)?.done;
    const identity = entry.run?.identity;
    if (identity === undefined || this.#deps.closing.aborted) return;
    // The operation may have found QEMU again.
    const again =
      entry.monitor !== monitor && entry.monitor?.state === "running"
        ? entry.monitor
        : await findAgainPatiently(identity, this.#deps.closing);
    if (again !== "dead") return await this.follow(entry, again);
    await this.markEnded(entry, "QEMU ended");
  }

  /** QEMU has ended: a persistent domain is shut off, a transient one is gone. Idempotent. */
  async markEnded(entry: DomainEntry, reason: string): Promise<void> {
    const { store, registry, events } = this.#deps;
    if (entry.run === undefined) return;
    store.atomically(() => {
      delete entry.run;
      delete entry.monitor;
      entry.paused = false;
      if (entry.definition === undefined) registry.remove(entry);
      else registry.save(entry);
      events.append(entry.name, "lifecycle", { event: "stopped", reason });
    });
    if (entry.definition !== undefined) await this.refreshMirrors(entry);
  }

  #log(entry: DomainEntry, error: unknown): void {
    if (this.#deps.closing.aborted) return;
    const reason = error instanceof QmError ? error.message : errorText(error);
    this.#deps.logger.error({ domain: entry.name, reason }, "following QEMU failed");
  }
}

/** QEMU does not say which file system is full. */
async function explainEnd(reason: string, path: string): Promise<string> {
  return saysFull(reason) ? `${reason}: ${path}, ${await freeBytes(path)} bytes are free` : reason;
}
