/** A client of qmirrord's HTTP API: a method for each route of docs/reference/http.md. Runs in browsers too. */
import type {
  AttachBody,
  AttachDiskBody,
  BlockCommitBody,
  BlockCopyBody,
  BlockInfoView,
  BlockJobView,
  BlockPullBody,
  BlockStatsView,
  CloneBody,
  DetachDiskBody,
  DiskView,
  DoctorCheck,
  DomainInfoView,
  DomainView,
  EventView,
  FreezeView,
  MigrateBody,
  OperationView,
  RecoveryView,
  RestoreBody,
  SaveBody,
  ShutdownBody,
  SnapshotCreateBody,
  SnapshotCreatedView,
  SnapshotDeleteBody,
  SnapshotDeletedView,
  SnapshotFilter,
  SnapshotRevertBody,
  SnapshotView,
  UndefineOptions,
  VersionView,
  XmlView,
} from "../api-types/index.ts";
import { unreachableError } from "./api-error.ts";
import { ApiRequests, toQuery } from "./requests.ts";
import type { Transport } from "./transport.ts";

/**
 * Every call rejects with an `ApiError`: the daemon's, or `QM_DAEMON_UNREACHABLE` when it did not answer. `domain` is a name
 * or a uuid, `disk` a target such as `vda`. A `signal` gives up waiting (the call rejects with the signal's reason), not what
 * was asked for.
 */
export class QmirrorClient {
  readonly #api: ApiRequests;

  constructor(transport: Transport) {
    this.#api = new ApiRequests(transport);
  }

  version(): Promise<VersionView> {
    return this.#api.get("/v1/version");
  }

  listDomains(): Promise<DomainView[]> {
    return this.#api.get("/v1/domains");
  }
  getDomain(domain: string): Promise<DomainView> {
    return this.#api.get(domainPath(domain));
  }
  defineDomain(xml: string): Promise<DomainView> {
    return this.#api.post("/v1/domains", { xml });
  }
  createDomain(xml: string): Promise<DomainView> {
    return this.#api.post("/v1/domains/create", { xml });
  }
  attachDomain(body: AttachBody): Promise<DomainView> {
    return this.#api.post("/v1/domains/attach", body);
  }
  restoreDomain(body: RestoreBody, signal?: AbortSignal): Promise<DomainView> {
    return this.#api.post("/v1/domains/restore", body, signal);
  }
  startDomain(domain: string): Promise<DomainView> {
    return this.#api.post(`${domainPath(domain)}/start`);
  }
  destroyDomain(domain: string): Promise<DomainView> {
    return this.#api.post(`${domainPath(domain)}/destroy`);
  }
  undefineDomain(domain: string, options: UndefineOptions = {}): Promise<void> {
    return this.#api.delete(domainPath(domain) + toQuery({ ...options }));
  }
  detachDomain(domain: string): Promise<void> {
    return this.#api.post(`${domainPath(domain)}/detach`);
  }
  suspendDomain(domain: string): Promise<DomainView> {
    return this.#api.post(`${domainPath(domain)}/suspend`);
  }
  resumeDomain(domain: string): Promise<DomainView> {
    return this.#api.post(`${domainPath(domain)}/resume`);
  }
  /** Resolves when the guest was asked. */
  shutdownDomain(domain: string, body: ShutdownBody = {}): Promise<void> {
    return this.#api.post(`${domainPath(domain)}/shutdown`, body);
  }
  /** Resolves when the guest was asked. */
  rebootDomain(domain: string, body: ShutdownBody = {}): Promise<void> {
    return this.#api.post(`${domainPath(domain)}/reboot`, body);
  }
  /** Resolves when the memory is in the file and QEMU is gone. */
  saveDomain(domain: string, body: SaveBody, signal?: AbortSignal): Promise<OperationView> {
    return this.#api.post(`${domainPath(domain)}/save`, body, signal);
  }
  renameDomain(domain: string, newName: string): Promise<DomainView> {
    return this.#api.post(`${domainPath(domain)}/rename`, { newName });
  }
  /** How many file systems of the guest were frozen. */
  freezeFilesystems(domain: string, mountpoints?: readonly string[]): Promise<FreezeView> {
    return this.#api.post(`${domainPath(domain)}/freeze`, { mountpoints });
  }
  /** How many file systems of the guest were thawed. */
  thawFilesystems(domain: string, mountpoints?: readonly string[]): Promise<FreezeView> {
    return this.#api.post(`${domainPath(domain)}/thaw`, { mountpoints });
  }
  domainInfo(domain: string): Promise<DomainInfoView> {
    return this.#api.get(`${domainPath(domain)}/info`);
  }
  async domainXml(domain: string, { inactive }: { inactive?: boolean } = {}): Promise<string> {
    return (await this.#api.get<XmlView>(`${domainPath(domain)}/xml${toQuery({ inactive })}`)).xml;
  }

  domainDisks(domain: string): Promise<DiskView[]> {
    return this.#api.get(`${domainPath(domain)}/disks`);
  }
  attachDisk(domain: string, body: AttachDiskBody): Promise<DiskView> {
    return this.#api.post(`${domainPath(domain)}/disks`, body);
  }
  detachDisk(domain: string, disk: string, body: DetachDiskBody = {}): Promise<void> {
    return this.#api.delete(diskPath(domain, disk) + toQuery({ ...body }));
  }
  blockInfo(domain: string, disk: string): Promise<BlockInfoView> {
    return this.#api.get(`${diskPath(domain, disk)}/info`);
  }
  blockStats(domain: string, disk: string): Promise<BlockStatsView> {
    return this.#api.get(`${diskPath(domain, disk)}/stats`);
  }
  blockResize(domain: string, disk: string, sizeBytes: number): Promise<void> {
    return this.#api.put(`${diskPath(domain, disk)}/size`, { sizeBytes });
  }
  /** Resolves when the operation has begun: `watchOperation` follows it. */
  blockCopy(domain: string, disk: string, body: BlockCopyBody): Promise<OperationView> {
    return this.#api.post(`${diskPath(domain, disk)}/copy`, body);
  }
  /** Resolves when the operation has begun: `watchOperation` follows it. */
  blockCommit(domain: string, disk: string, body: BlockCommitBody = {}): Promise<OperationView> {
    return this.#api.post(`${diskPath(domain, disk)}/commit`, body);
  }
  /** Resolves when the operation has begun: `watchOperation` follows it. */
  blockPull(domain: string, disk: string, body: BlockPullBody = {}): Promise<OperationView> {
    return this.#api.post(`${diskPath(domain, disk)}/pull`, body);
  }
  /** Undefined: nothing is done to the disk. */
  blockJob(domain: string, disk: string): Promise<BlockJobView | undefined> {
    return this.#api.get(`${diskPath(domain, disk)}/job`);
  }
  /** Pivots to a ready copy, or gives up what is done to the disk; resolves when the job has ended. */
  endBlockJob(domain: string, disk: string, how: "pivot" | "abort", signal?: AbortSignal): Promise<OperationView> {
    return this.#api.post(`${diskPath(domain, disk)}/job/end`, { pivot: how === "pivot" }, signal);
  }
  setBlockJobSpeed(domain: string, disk: string, bytesPerS: number): Promise<BlockJobView> {
    return this.#api.put(`${diskPath(domain, disk)}/job/speed`, { bytesPerS });
  }

  listSnapshots(domain: string, filter: SnapshotFilter = {}): Promise<SnapshotView[]> {
    return this.#api.get(`${domainPath(domain)}/snapshots${toQuery({ ...filter })}`);
  }
  /** Resolves when the snapshot is taken and every mirror is ready. */
  createSnapshot(domain: string, body: SnapshotCreateBody, signal?: AbortSignal): Promise<SnapshotCreatedView> {
    return this.#api.post(`${domainPath(domain)}/snapshots`, body, signal);
  }
  getSnapshot(domain: string, snapshot: string): Promise<SnapshotView> {
    return this.#api.get(snapshotPath(domain, snapshot));
  }
  currentSnapshot(domain: string): Promise<SnapshotView> {
    return this.#api.get(`${domainPath(domain)}/current-snapshot`);
  }
  setCurrentSnapshot(domain: string, snapshot: string): Promise<SnapshotView> {
    return this.#api.put(`${domainPath(domain)}/current-snapshot`, { name: snapshot });
  }
  async snapshotXml(domain: string, snapshot: string): Promise<string> {
    return (await this.#api.get<XmlView>(`${snapshotPath(domain, snapshot)}/xml`)).xml;
  }
  /** Resolves when the domain is as the snapshot says. */
  revertSnapshot(
    domain: string,
    snapshot: string,
    body: SnapshotRevertBody = {},
    signal?: AbortSignal,
  ): Promise<OperationView> {
    return this.#api.post(`${snapshotPath(domain, snapshot)}/revert`, body, signal);
  }
  /** Resolves when every layer that nobody needs any more is merged or removed. */
  deleteSnapshot(
    domain: string,
    snapshot: string,
    body: SnapshotDeleteBody = {},
    signal?: AbortSignal,
  ): Promise<SnapshotDeletedView> {
    return this.#api.delete(snapshotPath(domain, snapshot) + toQuery({ ...body }), signal);
  }
  /** What `deleteSnapshot` would do. */
  previewDelete(domain: string, snapshot: string, body: SnapshotDeleteBody = {}): Promise<SnapshotDeletedView> {
    return this.#api.get(`${snapshotPath(domain, snapshot)}/delete-preview${toQuery({ ...body })}`);
  }
  /** Undefined when no operation was needed: the mirrors of a domain that does not run were given up. */
  endMirrors(
    domain: string,
    snapshot: string,
    mirror: "pivot" | "abort",
    signal?: AbortSignal,
  ): Promise<OperationView | undefined> {
    return this.#api.post(`${snapshotPath(domain, snapshot)}/end-mirrors`, { mirror }, signal);
  }
  /** Resolves when every mirror is ready again. */
  restartMirrors(domain: string, snapshot: string, signal?: AbortSignal): Promise<OperationView> {
    return this.#api.post(`${snapshotPath(domain, snapshot)}/restart-mirrors`, undefined, signal);
  }

  /** Resolves when the operation has begun: `watchOperation` follows it. */
  migrateStorage(domain: string, body: MigrateBody): Promise<OperationView> {
    return this.#api.post(`${domainPath(domain)}/migrate-storage`, body);
  }
  /** Resolves when the operation has begun: `watchOperation` follows it. */
  cloneStorage(domain: string, body: CloneBody): Promise<OperationView> {
    return this.#api.post(`${domainPath(domain)}/clone-storage`, body);
  }

  /** Newest first. */
  listOperations(
    filter: { domain?: string | undefined; running?: boolean | undefined } = {},
  ): Promise<OperationView[]> {
    const running = filter.running === undefined ? undefined : Number(filter.running);
    return this.#api.get(`/v1/operations${toQuery({ domain: filter.domain, running })}`);
  }
  getOperation(id: string): Promise<OperationView> {
    return this.#api.get(operationPath(id));
  }
  /** Resolves when it has ended. */
  cancelOperation(id: string, signal?: AbortSignal): Promise<OperationView> {
    return this.#api.post(`${operationPath(id)}/cancel`, undefined, signal);
  }
  setSpeed(id: string, bytesPerS: number): Promise<OperationView> {
    return this.#api.put(`${operationPath(id)}/speed`, { bytesPerS });
  }

  /**
   * The operation as it is, then each change; ends with its final state, or quietly when `signal` aborts. Rejects with
   * `QM_DAEMON_UNREACHABLE` when the daemon ends first: the operation is in its journal all the same.
   */
  async *watchOperation(id: string, signal?: AbortSignal): AsyncGenerator<OperationView, void, undefined> {
    const path = `${operationPath(id)}/watch`;
    let state: OperationView["state"] = "running";
    for await (const view of this.#api.stream<OperationView>(path, signal)) {
      state = view.state;
      yield view;
    }
    if (state === "running" && signal?.aborted !== true) {
      throw unreachableError(path, "the daemon stopped while the operation was running");
    }
  }

  /** Events after `since`, or new ones when absent. Ends when the daemon does, or quietly when `signal` aborts. */
  watchEvents(
    filter: { domain?: string | undefined; since?: number | undefined } = {},
    signal?: AbortSignal,
  ): AsyncGenerator<EventView, void, undefined> {
    return this.#api.stream(`/v1/events${toQuery({ domain: filter.domain, since: filter.since })}`, signal);
  }

  /** What did not come to its end by itself, of a domain or of all. Changes nothing. */
  showRecovery(domain?: string): Promise<RecoveryView> {
    return this.#api.get(`/v1/recovery${toQuery({ domain })}`);
  }
  /** Does what `showRecovery` proposes; resolves to what is left. */
  applyRecovery(domain?: string): Promise<RecoveryView> {
    return this.#api.post("/v1/recovery", domain === undefined ? {} : { domain });
  }

  doctor(): Promise<DoctorCheck[]> {
    return this.#api.get("/v1/doctor");
  }
}

function domainPath(domain: string): string {
  return `/v1/domains/${encodeURIComponent(domain)}`;
}

function diskPath(domain: string, disk: string): string {
  return `${domainPath(domain)}/disks/${encodeURIComponent(disk)}`;
}

function snapshotPath(domain: string, snapshot: string): string {
  return `${domainPath(domain)}/snapshots/${encodeURIComponent(snapshot)}`;
}

function operationPath(id: string): string {
  return `/v1/operations/${encodeURIComponent(id)}`;
}
