/** A facade in memory: domains, snapshots and operations as the front ends see them, moved forward by the test. */
import { randomUUID } from "node:crypto";
import type {
  CloneBody,
  DiskView,
  DoctorCheck,
  DomainView,
  EventView,
  MigrateBody,
  OperationKind,
  OperationView,
  SnapshotCreateBody,
  SnapshotView,
} from "../../src/api-types/index.ts";
import { QmError } from "../../src/base/errors.ts";
import type { Facade } from "../../src/service/facade.ts";

export class FakeFacade implements Facade {
  readonly domains = new Map<string, DomainView>();
  readonly snapshots: SnapshotView[] = [];
  readonly operations = new Map<string, OperationView>();
  readonly events: EventView[] = [];
  /** Every call with a request, newest last. */
  readonly requests: { method: string; args: unknown[] }[] = [];
  /** Signals of the watches that are open. */
  readonly watches = new Set<AbortSignal>();
  /** While set, `createSnapshot` waits for it. */
  gate: Promise<void> | undefined;
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

  changeOperation(id: string, change: Partial<OperationView>): OperationView {
    const view = this.operations.get(id);
    if (view === undefined) throw new QmError("QM_NO_OPERATION", { operation: id });
    const changed = { ...view, ...change };
    this.operations.set(id, changed);
    this.#notify();
    return changed;
  }

  emit(domain: string, detail: Record<string, unknown>): void {
    const seq = this.events.length + 1;
    this.events.push({ seq, at: "2026-01-02T03:04:05.000Z", domain, type: "lifecycle", detail });
    this.#notify();
  }

  async listDomains() {
    return [...this.domains.values()];
  }
  async getDomain(domain: string) {
    const found = [...this.domains.values()].find(({ name, uuid }) => name === domain || uuid === domain);
    if (found === undefined) throw new QmError("QM_NO_DOMAIN", { domain });
    return found;
  }
  async defineDomain(xml: string) {
    return this.addDomain(readName(xml), { id: null, state: "shut off" });
  }
  async createDomain(xml: string) {
    return this.addDomain(readName(xml), { persistent: false });
  }
  async startDomain(domain: string) {
    const view = await this.getDomain(domain);
    if (view.state === "running") throw new QmError("QM_DOMAIN_RUNNING", { domain });
    return this.addDomain(view.name, { ...view, id: 7, state: "running" });
  }
  async destroyDomain(domain: string) {
    return this.addDomain(domain, { ...(await this.getDomain(domain)), id: null, state: "shut off" });
  }
  async undefineDomain(domain: string) {
    this.domains.delete((await this.getDomain(domain)).name);
  }
  async attachDomain(request: { qmp: string; name?: string }) {
    this.requests.push({ method: "attachDomain", args: [request] });
    return this.addDomain(request.name ?? "attached", { adopted: true });
  }
  async detachDomain(domain: string) {
    this.domains.delete((await this.getDomain(domain)).name);
  }
  async domainXml(domain: string, { inactive }: { inactive: boolean }) {
    return `<domain><name>${(await this.getDomain(domain)).name}</name><!-- ${inactive ? "inactive" : "live"} --></domain>\n`;
  }
  async domainDisks(domain: string): Promise<DiskView[]> {
    await this.getDomain(domain);
    const mirror = { type: "file", path: "/nas/vda.s1", format: "qcow2", state: "ready" } as const;
    return [
      {
        target: "vda",
        device: "disk",
        readonly: false,
        chain: [{ type: "file", path: "/ssd/vda.qcow2", format: "qcow2" }],
        ...(this.snapshots.some(({ mirrored }) => mirrored) ? { mirror } : {}),
      },
      { target: "sda", device: "cdrom", readonly: true, chain: [] },
    ];
  }

  async createSnapshot(domain: string, request: SnapshotCreateBody) {
    this.requests.push({ method: "createSnapshot", args: [domain, request] });
    await this.getDomain(domain);
    await this.gate;
    const xml = "<domainsnapshot/>\n";
    if (request.printXml === true) return { xml };
    const parent = this.snapshots.at(-1)?.name;
    const snapshot: SnapshotView = {
      name: request.name ?? `s${this.snapshots.length + 1}`,
      ...(parent === undefined ? {} : { parent }),
      creationTime: "2026-01-02T03:04:05.000Z",
      state: "disk-snapshot",
      current: true,
      mirrored: request.diskspecs?.some((spec) => spec.includes("mirror=")) ?? false,
      disks: [{ target: "vda", snapshot: "external" }],
    };
    this.snapshots.push(snapshot);
    return { snapshot, xml };
  }
  async listSnapshots(domain: string) {
    await this.getDomain(domain);
    return this.snapshots;
  }
  async getSnapshot(domain: string, snapshot: string) {
    await this.getDomain(domain);
    const found = this.snapshots.find(({ name }) => name === snapshot);
    if (found === undefined) throw new QmError("QM_NO_SNAPSHOT", { domain, snapshot });
    return found;
  }
  async snapshotXml(domain: string, snapshot: string) {
    return `<domainsnapshot><name>${(await this.getSnapshot(domain, snapshot)).name}</name></domainsnapshot>\n`;
  }
  async endMirrors(domain: string, snapshot: string, how: "pivot" | "abort") {
    this.requests.push({ method: "endMirrors", args: [domain, snapshot, how] });
    if (!(await this.getSnapshot(domain, snapshot)).mirrored) {
      throw new QmError("QM_SNAPSHOT_NOT_MIRRORED", { domain, snapshot });
    }
    return this.changeOperation(this.#begin(how, domain).id, { state: "succeeded" });
  }

  async migrateStorage(domain: string, request: MigrateBody) {
    this.requests.push({ method: "migrateStorage", args: [domain, request] });
    return this.#begin("migrate-storage", (await this.getDomain(domain)).name);
  }
  async cloneStorage(domain: string, request: CloneBody) {
    this.requests.push({ method: "cloneStorage", args: [domain, request] });
    return this.#begin("clone-storage", (await this.getDomain(domain)).name);
  }

  async listOperations({ domain, running }: { domain?: string; running?: boolean }) {
    return [...this.operations.values()]
      .filter((view) => domain === undefined || view.domain === domain)
      .filter((view) => running === undefined || (view.state === "running") === running)
      .toReversed();
  }
  async getOperation(id: string) {
    return this.changeOperation(id, {});
  }
  async waitOperation(id: string, signal: AbortSignal) {
    let last = await this.getOperation(id);
    for await (last of this.watchOperation(id, signal));
    return last;
  }
  async cancelOperation(id: string) {
    return this.changeOperation(id, { state: "cancelled" });
  }
  async setSpeed(id: string, bytesPerS: number) {
    this.requests.push({ method: "setSpeed", args: [id, bytesPerS] });
    return this.changeOperation(id, {});
  }

  async *watchEvents(filter: { domain?: string; since?: number }, signal: AbortSignal) {
    let next = filter.since ?? this.events.length;
    yield* this.#watch(signal, () => {
      const news = this.events
        .slice(next)
        .filter(({ domain }) => filter.domain === undefined || domain === filter.domain);
      next = this.events.length;
      return { items: news, ended: false };
    });
  }
  async *watchOperation(id: string, signal: AbortSignal) {
    let shown: OperationView | undefined;
    yield* this.#watch(signal, () => {
      const view = this.operations.get(id);
      if (view === undefined) throw new QmError("QM_NO_OPERATION", { operation: id });
      const items = view === shown ? [] : [view];
      shown = view;
      return { items, ended: view.state !== "running" };
    });
  }

  async doctor(): Promise<DoctorCheck[]> {
    return [
      { name: "qemu-img", verdict: "ok", detail: "7.2.22" },
      { name: "kvm", verdict: "failed", detail: "no /dev/kvm", next: "use type='qemu'" },
    ];
  }

  #begin(kind: OperationKind, domain: string): OperationView {
    const view: OperationView = {
      id: `op-${this.operations.size + 1}`,
      kind,
      domain,
      state: "running",
      step: "copy",
      startedAt: "2026-01-02T03:04:05.000Z",
      progress: [{ target: "vda", doneBytes: 0, totalBytes: 1024 ** 3 }],
    };
    this.operations.set(view.id, view);
    return view;
  }

  async *#watch<T>(signal: AbortSignal, look: () => { items: T[]; ended: boolean }) {
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

function readName(xml: string): string {
  const name = /<name>(.*?)<\/name>/.exec(xml)?.[1];
  if (name === undefined) throw new QmError("QM_XML_INVALID", { element: "domain", reason: "it has no <name>" });
  return name;
}
