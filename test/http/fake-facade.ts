/** A facade in memory: domains, snapshots and operations as the front ends see them, moved forward by the test. */
import type {
  CloneBody,
  DiskView,
  DoctorCheck,
  MigrateBody,
  OperationView,
  RecoveryView,
  SnapshotCreateBody,
  SnapshotDeleteBody,
  SnapshotFilter,
  SnapshotRevertBody,
  SnapshotView,
  UndefineOptions,
} from "../../src/api-types/index.ts";
import { QmError } from "../../src/base/errors.ts";
import type { Facade } from "../../src/service/facade.ts";
import { FakeVerbs } from "./fake-verbs.ts";

export class FakeFacade extends FakeVerbs implements Facade {
  /** The same for every domain; in the order of their creation. */
  readonly snapshots: SnapshotView[] = [];

  async listDomains() {
    return [...this.domains.values()];
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
  async undefineDomain(domain: string, request?: UndefineOptions) {
    this.requests.push({ method: "undefineDomain", args: [request] });
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
    const mirrored = this.snapshots.some((snapshot) => snapshot.mirrored);
    return this.disks.map((disk) => (mirrored && disk.target === "vda" ? { ...disk, mirror } : disk));
  }

  async createSnapshot(domain: string, request: SnapshotCreateBody) {
    this.requests.push({ method: "createSnapshot", args: [domain, request] });
    await this.getDomain(domain);
    await this.gate;
    const xml = "<domainsnapshot/>\n";
    if (request.printXml === true || request.noMetadata === true) return { xml };
    const parent = this.snapshots.find(({ current }) => current)?.name;
    const name = request.name ?? `s${this.snapshots.length + 1}`;
    if (this.#find(name) !== undefined) throw new QmError("QM_SNAPSHOT_EXISTS", { domain, snapshot: name });
    this.snapshots.push({
      name,
      ...(request.description === undefined ? {} : { description: request.description }),
      ...(parent === undefined ? {} : { parent }),
      creationTime: "2026-01-02T03:04:05.000Z",
      state: "disk-snapshot",
      current: true,
      mirrored: request.diskspecs?.some((spec) => spec.includes("mirror=")) ?? false,
      location: "external",
      children: 0,
      descendants: 0,
      disks: [{ target: "vda", snapshot: "external" }],
    });
    this.#settle(name);
    return { snapshot: await this.getSnapshot(domain, name), xml };
  }
  async listSnapshots(domain: string, filter: SnapshotFilter = {}) {
    await this.getDomain(domain);
    const { from } = filter;
    if (from !== undefined) await this.getSnapshot(domain, from);
    return this.snapshots
      .filter(({ name, parent }) => from === undefined || parent === from || this.#isBelow(name, from, filter))
      .filter((one) => filter.roots !== true || one.parent === undefined)
      .filter((one) => filter.leaves !== true || one.children === 0)
      .filter((one) => filter.noLeaves !== true || one.children > 0)
      .filter(() => filter.noMetadata !== true)
      .filter((one) => filter.inactive !== true || one.state === "shutoff")
      .filter((one) => filter.active !== true || one.state === "running" || one.state === "paused")
      .filter((one) => filter.diskOnly !== true || one.state === "disk-snapshot")
      .filter((one) => filter.internal !== true || one.location === "internal")
      .filter((one) => filter.external !== true || one.location === "external");
  }
  async getSnapshot(domain: string, snapshot: string) {
    await this.getDomain(domain);
    const found = this.#find(snapshot);
    if (found === undefined) throw new QmError("QM_NO_SNAPSHOT", { domain, snapshot });
    return found;
  }
  async currentSnapshot(domain: string) {
    await this.getDomain(domain);
    const found = this.snapshots.find(({ current }) => current);
    if (found === undefined) throw new QmError("QM_NO_CURRENT_SNAPSHOT", { domain });
    return found;
  }
  async setCurrentSnapshot(domain: string, snapshot: string) {
    const { name } = await this.getSnapshot(domain, snapshot);
    this.#settle(name);
    return this.getSnapshot(domain, name);
  }
  async snapshotXml(domain: string, snapshot: string) {
    return `<domainsnapshot><name>${(await this.getSnapshot(domain, snapshot)).name}</name></domainsnapshot>\n`;
  }
  async revertSnapshot(domain: string, snapshot: string, request: SnapshotRevertBody) {
    this.requests.push({ method: "revertSnapshot", args: [domain, snapshot, request] });
    this.#settle((await this.getSnapshot(domain, snapshot)).name);
    return this.succeed("snapshot-revert", domain);
  }
  async previewDelete(domain: string, snapshot: string, request: SnapshotDeleteBody) {
    this.requests.push({ method: "previewDelete", args: [domain, snapshot, request] });
    const { name } = await this.getSnapshot(domain, snapshot);
    const below = this.snapshots.filter((one) => this.#isBelow(one.name, name, { descendants: true }));
    const deleted = [
      ...(request.children === true || request.childrenOnly === true ? below.map((one) => one.name) : []),
      ...(request.childrenOnly === true ? [] : [name]),
    ];
    const layers = request.metadataOnly === true ? [] : deleted.map((one) => describeFate(one));
    return { deleted, layers };
  }
  async deleteSnapshot(domain: string, snapshot: string, request: SnapshotDeleteBody) {
    const preview = await this.previewDelete(domain, snapshot, request);
    this.requests.push({ method: "deleteSnapshot", args: [domain, snapshot, request] });
    const mirrored = preview.deleted.find((name) => this.#find(name)?.mirrored);
    if (mirrored !== undefined) {
      throw new QmError("QM_DOMAIN_MIRRORED", { domain, snapshot: mirrored, what: "deleting it" });
    }
    for (const name of preview.deleted) this.#remove(name);
    return preview.layers.length === 0 ? preview : { ...preview, operation: this.succeed("snapshot-delete", domain) };
  }
  async endMirrors(domain: string, snapshot: string, how: "pivot" | "abort") {
    this.requests.push({ method: "endMirrors", args: [domain, snapshot, how] });
    const found = await this.getSnapshot(domain, snapshot);
    this.#requireMirrors(domain, found);
    this.#replace({ ...found, mirrored: false });
    const { id } = await this.getDomain(domain);
    return how === "abort" && id === null ? undefined : this.succeed(how, domain);
  }
  async restartMirrors(domain: string, snapshot: string) {
    this.requests.push({ method: "restartMirrors", args: [domain, snapshot] });
    this.#requireMirrors(domain, await this.getSnapshot(domain, snapshot));
    return this.succeed("mirror-restart", domain);
  }

  async migrateStorage(domain: string, request: MigrateBody) {
    this.requests.push({ method: "migrateStorage", args: [domain, request] });
    return this.begin("migrate-storage", (await this.getDomain(domain)).name);
  }
  async cloneStorage(domain: string, request: CloneBody) {
    this.requests.push({ method: "cloneStorage", args: [domain, request] });
    return this.begin("clone-storage", (await this.getDomain(domain)).name);
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
    yield* this.watch(signal, () => {
      const news = this.events
        .slice(next)
        .filter(({ domain }) => filter.domain === undefined || domain === filter.domain);
      next = this.events.length;
      return { items: news, ended: false };
    });
  }
  async *watchOperation(id: string, signal: AbortSignal) {
    let shown: OperationView | undefined;
    yield* this.watch(signal, () => {
      const view = this.operations.get(id);
      if (view === undefined) throw new QmError("QM_NO_OPERATION", { operation: id });
      const items = view === shown ? [] : [view];
      shown = view;
      return { items, ended: view.state !== "running" };
    });
  }

  /** What `showRecovery` shows of every domain. */
  recovery: RecoveryView = { operations: [], findings: [], departed: [], applied: [] };
  async showRecovery(domain?: string) {
    this.requests.push({ method: "showRecovery", args: [domain] });
    return this.recovery;
  }
  async applyRecovery(domain?: string) {
    this.requests.push({ method: "applyRecovery", args: [domain] });
    return this.recovery;
  }

  async doctor(): Promise<DoctorCheck[]> {
    return [
      { name: "qemu-img", verdict: "ok", detail: "7.2.22" },
      { name: "kvm", verdict: "failed", detail: "no /dev/kvm", next: "use type='qemu'" },
    ];
  }

  #find(name: string): SnapshotView | undefined {
    return this.snapshots.find((one) => one.name === name);
  }

  #isBelow(name: string, top: string, { descendants }: { readonly descendants?: boolean }): boolean {
    const parent = this.#find(name)?.parent;
    if (parent === undefined) return false;
    return parent === top || (descendants === true && this.#isBelow(parent, top, { descendants }));
  }

  #requireMirrors(domain: string, { name, mirrored }: SnapshotView): void {
    if (!mirrored) throw new QmError("QM_SNAPSHOT_NOT_MIRRORED", { domain, snapshot: name });
  }

  #replace(changed: SnapshotView): void {
    this.snapshots.splice(
      this.snapshots.findIndex(({ name }) => name === changed.name),
      1,
      changed,
    );
  }

  /** Its children go to its parent, which becomes the current one if it was. */
  #remove(name: string): void {
    const removed = this.#find(name);
    if (removed === undefined) return;
    this.snapshots.splice(this.snapshots.indexOf(removed), 1);
    const grandparent = removed.parent === undefined ? {} : { parent: removed.parent };
    for (const child of this.snapshots.filter(({ parent }) => parent === name)) {
      const { parent: _, ...orphan } = child;
      this.#replace({ ...orphan, ...grandparent });
    }
    this.#settle(removed.current ? removed.parent : this.snapshots.find(({ current }) => current)?.name);
  }

  /** Makes `current` the only current one, and counts again. */
  #settle(current: string | undefined): void {
    for (const one of this.snapshots) {
      this.#replace({
        ...one,
        current: one.name === current,
        children: this.snapshots.filter(({ parent }) => parent === one.name).length,
        descendants: this.snapshots.filter(({ name }) => this.#isBelow(name, one.name, { descendants: true })).length,
      });
    }
  }
}

function describeFate(snapshot: string) {
  return { disk: "vda", path: `/ssd/vda.${snapshot}`, fate: "commit", into: "/ssd/vda.qcow2", bytes: 2 ** 20 } as const;
}

function readName(xml: string): string {
  const name = /<name>(.*?)<\/name>/.exec(xml)?.[1];
  if (name === undefined) throw new QmError("QM_XML_INVALID", { element: "domain", reason: "it has no <name>" });
  return name;
}
