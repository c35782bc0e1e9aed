/** The fake facade's domain and block verbs. */
import type {
  AttachDiskBody,
  BlockCommitBody,
  BlockCopyBody,
  BlockInfoView,
  BlockJobView,
  BlockPullBody,
  BlockStatsView,
  DetachDiskBody,
  DiskView,
  DomainInfoView,
  DomainView,
  RestoreBody,
  SaveBody,
  ShutdownBody,
} from "../../src/api-types/index.ts";
import { QmError } from "../../src/base/errors.ts";
import { FakeState } from "./fake-state.ts";

export class FakeVerbs extends FakeState {
  /** What is done to each disk, by its target: a test that wants a ready one says so here. */
  readonly jobs = new Map<string, BlockJobView>();
  /** Saved domains by their files. */
  readonly saved = new Map<string, DomainView>();
  readonly frozen = new Set<string>();
  /** While set, `createSnapshot` and `saveDomain` wait for it. */
  gate: Promise<void> | undefined;

  async suspendDomain(domain: string) {
    const view = await this.requireRunning(domain);
    return this.addDomain(view.name, { ...view, state: "paused" });
  }
  async resumeDomain(domain: string) {
    const view = await this.requireRunning(domain);
    if (view.state === "running") throw new QmError("QM_DOMAIN_RUNNING", { domain });
    return this.addDomain(view.name, { ...view, state: "running" });
  }
  async shutdownDomain(domain: string, request: ShutdownBody) {
    this.requests.push({ method: "shutdownDomain", args: [domain, request] });
    const view = await this.requireRunning(domain);
    this.addDomain(view.name, { ...view, id: null, state: "shut off" });
  }
  async rebootDomain(domain: string, request: ShutdownBody) {
    this.requests.push({ method: "rebootDomain", args: [domain, request] });
    await this.requireRunning(domain);
  }
  async saveDomain(domain: string, request: SaveBody) {
    this.requests.push({ method: "saveDomain", args: [domain, request] });
    const view = await this.requireRunning(domain);
    const { id, kind } = this.begin("save", view.name);
    this.emit(view.name, { operation: id, kind, state: "running" }, "operation");
    await this.gate;
    this.saved.set(request.file, { ...view, ...stateAfterwards(request) });
    this.addDomain(view.name, { ...view, id: null, state: "shut off" });
    return this.changeOperation(id, { state: "succeeded", progress: [] });
  }
  async restoreDomain(request: RestoreBody) {
    this.requests.push({ method: "restoreDomain", args: [request] });
    const saved = this.saved.get(request.file);
    if (saved === undefined) throw new QmError("QM_MEMORY_FILE", { path: request.file, reason: "no such file" });
    return this.addDomain(saved.name, { ...saved, ...stateAfterwards(request) });
  }
  async domainInfo(domain: string): Promise<DomainInfoView> {
    const { id, name, uuid, state, persistent } = await this.getDomain(domain);
    return {
      id,
      name,
      uuid,
      osType: "hvm",
      state,
      reason: id === null ? "shutdown" : "booted",
      vcpus: 2,
      ...(id === null ? {} : { cpuTimeNs: 12_345_000_000 }),
      maxMemoryBytes: 512 * 2 ** 20,
      usedMemoryBytes: id === null ? 0 : 256 * 2 ** 20,
      persistent,
      managedSave: false,
      autostart: false,
    };
  }
  async freezeFilesystems(domain: string, mountpoints: readonly string[] = ["/", "/home"]) {
    this.requests.push({ method: "freezeFilesystems", args: [domain, mountpoints] });
    await this.requireRunning(domain);
    for (const mountpoint of mountpoints) this.frozen.add(mountpoint);
    return mountpoints.length;
  }
  async thawFilesystems(domain: string, mountpoints: readonly string[] = [...this.frozen]) {
    this.requests.push({ method: "thawFilesystems", args: [domain, mountpoints] });
    await this.requireRunning(domain);
    return mountpoints.filter((mountpoint) => this.frozen.delete(mountpoint)).length;
  }
  async renameDomain(domain: string, newName: string) {
    const view = await this.getDomain(domain);
    if (view.id !== null) throw new QmError("QM_DOMAIN_ACTIVE", { domain, what: "renaming it" });
    const taken = this.domains.get(newName);
    if (taken !== undefined) throw new QmError("QM_DOMAIN_EXISTS", { domain: newName, uuid: taken.uuid });
    this.domains.delete(view.name);
    return this.addDomain(newName, { ...view, name: newName });
  }

  async attachDisk(domain: string, request: AttachDiskBody): Promise<DiskView> {
    this.requests.push({ method: "attachDisk", args: [domain, request] });
    await this.getDomain(domain);
    const path = /<source (?:file|dev)=['"](.*?)['"]/.exec(request.xml)?.[1];
    const target = /<target dev=['"](.*?)['"]/.exec(request.xml)?.[1];
    if (target === undefined) throw new QmError("QM_XML_INVALID", { element: "disk", reason: "it has no <target>" });
    const disk: DiskView = {
      target,
      device: request.xml.includes('device="cdrom"') ? "cdrom" : "disk",
      readonly: request.xml.includes("<readonly/>"),
      chain: path === undefined ? [] : [{ type: "file", path, format: "raw" }],
    };
    this.disks.push(disk);
    return disk;
  }
  async detachDisk(domain: string, disk: string, request: DetachDiskBody) {
    this.requests.push({ method: "detachDisk", args: [domain, disk, request] });
    this.disks.splice(this.disks.indexOf(await this.requireDisk(domain, disk)), 1);
  }
  async blockInfo(domain: string, disk: string): Promise<BlockInfoView> {
    await this.requireDisk(domain, disk);
    return { target: disk, capacityBytes: 2 ** 30, allocationBytes: 1536 * 2 ** 10, physicalBytes: 2 ** 20 };
  }
  async blockStats(domain: string, disk: string): Promise<BlockStatsView> {
    await this.requireRunning(domain);
    await this.requireDisk(domain, disk);
    return {
      target: disk,
      rdReq: 1,
      rdBytes: 2,
      wrReq: 3,
      wrBytes: 4,
      flushReq: 5,
      rdTotalTimesNs: 6,
      wrTotalTimesNs: 7,
      flushTotalTimesNs: 8,
    };
  }
  async blockResize(domain: string, disk: string, sizeBytes: number) {
    this.requests.push({ method: "blockResize", args: [domain, disk, sizeBytes] });
    await this.requireDisk(domain, disk);
  }

  async blockCopy(domain: string, disk: string, request: BlockCopyBody) {
    this.requests.push({ method: "blockCopy", args: [domain, disk, request] });
    return this.#beginJob("block-copy", "copy", domain, disk, request.bytesPerS);
  }
  async blockCommit(domain: string, disk: string, request: BlockCommitBody) {
    this.requests.push({ method: "blockCommit", args: [domain, disk, request] });
    const type = request.top === undefined ? "active-commit" : "commit";
    return this.#beginJob("block-commit", type, domain, disk, request.bytesPerS);
  }
  async blockPull(domain: string, disk: string, request: BlockPullBody) {
    this.requests.push({ method: "blockPull", args: [domain, disk, request] });
    return this.#beginJob("block-pull", "pull", domain, disk, request.bytesPerS);
  }
  async blockJob(domain: string, disk: string) {
    await this.requireDisk(domain, disk);
    return this.jobs.get(disk);
  }
  async endBlockJob(domain: string, disk: string, how: "pivot" | "abort") {
    this.requests.push({ method: "endBlockJob", args: [domain, disk, how] });
    const job = await this.#requireJob(domain, disk);
    if (how === "pivot" && job.state !== "ready") {
      throw new QmError("QM_MIRROR_NOT_READY", { disk, state: job.state });
    }
    this.jobs.delete(disk);
    return this.succeed("block-copy-end", domain);
  }
  async setBlockJobSpeed(domain: string, disk: string, bytesPerS: number) {
    this.requests.push({ method: "setBlockJobSpeed", args: [domain, disk, bytesPerS] });
    const job = { ...(await this.#requireJob(domain, disk)), bytesPerS };
    this.jobs.set(disk, job);
    return job;
  }

  async #beginJob(
    kind: "block-copy" | "block-commit" | "block-pull",
    type: BlockJobView["type"],
    domain: string,
    disk: string,
    bytesPerS = 0,
  ) {
    const { name } = await this.requireRunning(domain);
    await this.requireDisk(domain, disk);
    if (this.jobs.has(disk)) throw new QmError("QM_DOMAIN_BUSY", { domain, operation: kind });
    const operation = this.begin(kind, name, disk);
    const totalBytes = 2 ** 30;
    this.jobs.set(disk, {
      target: disk,
      type,
      state: "running",
      doneBytes: 0,
      totalBytes,
      bytesPerS,
      operation: operation.id,
    });
    return operation;
  }

  async #requireJob(domain: string, disk: string): Promise<BlockJobView> {
    await this.requireDisk(domain, disk);
    const job = this.jobs.get(disk);
    if (job === undefined) throw new QmError("QM_INVALID", { reason: `nothing is done to disk '${disk}'` });
    return job;
  }
}

function stateAfterwards({ running, paused }: { readonly running?: boolean; readonly paused?: boolean }) {
  if (running === true) return { state: "running" } as const;
  return paused === true ? ({ state: "paused" } as const) : {};
}
