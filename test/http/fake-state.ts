/** What the fake facade knows, and how it changes: domains, operations, events, and who watches them. */
import { randomUUID } from "node:crypto";
import type { DiskView, DomainView, EventView, OperationKind, OperationView } from "../../src/api-types/index.ts";
import { QmError } from "../../src/base/errors.ts";

export class FakeState {
  readonly domains = new Map<string, DomainView>();
  /** The same for every domain. */
  readonly disks: DiskView[] = [
    {
      target: "vda",
      device: "disk",
      readonly: false,
      chain: [{ type: "file", path: "/ssd/vda.qcow2", format: "qcow2" }],
    },
    { target: "sda", device: "cdrom", readonly: true, chain: [] },
  ];
  readonly operations = new Map<string, OperationView>();
  readonly events: EventView[] = [];
  /** Every call with a request, newest last. */
  readonly requests: { method: string; args: unknown[] }[] = [];
  /** Signals of the watches that are open. */
  readonly watches = new Set<AbortSignal>();
  readonly #changed = new Set<() => void>();

  addDomain(name: string, change: Partial<DomainView> = {}): DomainView {
    const view: DomainView = {
      name,
      uuid: randomUUID(),
      id: this.domains.size + 1,
      state: "running",
      persistent: true,
      adopted: false,
      ...change,
    };
    this.domains.set(name, view);
    return view;
  }

  async getDomain(domain: string) {
    const found = [...this.domains.values()].find(({ name, uuid }) => name === domain || uuid === domain);
    if (found === undefined) throw new QmError("QM_NO_DOMAIN", { domain });
    return found;
  }

  changeOperation(id: string, change: Partial<OperationView>): OperationView {
    const view = this.operations.get(id);
    if (view === undefined) throw new QmError("QM_NO_OPERATION", { operation: id });
    const changed = { ...view, ...change };
    this.operations.set(id, changed);
    this.#notify();
    return changed;
  }

  emit(domain: string, detail: Record<string, unknown>, type: EventView["type"] = "lifecycle"): void {
    const seq = this.events.length + 1;
    this.events.push({ seq, at: "2026-01-02T03:04:05.000Z", domain, type, detail });
    this.#notify();
  }

  protected async requireRunning(domain: string): Promise<DomainView> {
    const view = await this.getDomain(domain);
    if (view.id === null) throw new QmError("QM_DOMAIN_NOT_RUNNING", { domain });
    return view;
  }

  protected async requireDisk(domain: string, disk: string): Promise<DiskView> {
    await this.getDomain(domain);
    const found = this.disks.find(({ target }) => target === disk);
    if (found === undefined) {
      throw new QmError("QM_NO_DISK", { domain, disk, disks: this.disks.map(({ target }) => target).join(", ") });
    }
    return found;
  }

  protected begin(kind: OperationKind, domain: string, target = "vda"): OperationView {
    const view: OperationView = {
      id: `op-${this.operations.size + 1}`,
      kind,
      domain,
      state: "running",
      step: "copy",
      startedAt: "2026-01-02T03:04:05.000Z",
      progress: [{ target, doneBytes: 0, totalBytes: 1024 ** 3 }],
    };
    this.operations.set(view.id, view);
    return view;
  }

  protected succeed(kind: OperationKind, domain: string): OperationView {
    return this.changeOperation(this.begin(kind, domain).id, { state: "succeeded", progress: [] });
  }

  protected async *watch<T>(signal: AbortSignal, look: () => { items: T[]; ended: boolean }) {
    let wake = () => {};
    const notify = () => wake();
    signal.addEventListener("abort", notify);
    this.#changed.add(notify);
    this.watches.add(signal);
    try {
      while (!signal.aborted) {
        const changed = new Promise<void>((resolve) => (wake = resolve));
        const { items, ended } = look();
        yield* items;
        if (ended) return;
        if (!signal.aborted) await changed;
      }
    } finally {
      this.#changed.delete(notify);
      this.watches.delete(signal);
      signal.removeEventListener("abort", notify);
    }
  }

  #notify(): void {
    for (const notify of this.#changed) notify();
  }
}
