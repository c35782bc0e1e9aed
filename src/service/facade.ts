/**
 * The use cases that the daemon's front ends (HTTP, libvirt's protocol) call. Every method rejects with a `QmError`.
 * `domain` is a name or a uuid everywhere.
 */
import type {
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
} from "../api-types/index.ts";

export type Facade = DomainCases & SnapshotCases & StorageCases & OperationCases & RecoveryCases & HostCases;

export interface DomainCases {
  listDomains(): Promise<DomainView[]>;
  getDomain(domain: string): Promise<DomainView>;
  /** Makes a persistent domain, or replaces the definition of the one with that name and uuid; a running one goes on as it is. */
  defineDomain(xml: string): Promise<DomainView>;
  /** Starts a transient domain. */
  createDomain(xml: string): Promise<DomainView>;
  startDomain(domain: string): Promise<DomainView>;
  /** Ends QEMU at once. A transient domain is gone afterwards. */
  destroyDomain(domain: string): Promise<DomainView>;
  /** `QM_DOMAIN_HAS_SNAPSHOTS` unless `snapshotsMetadata` says that they may be forgotten; images stay. */
  undefineDomain(domain: string, request?: UndefineOptions): Promise<void>;
  attachDomain(request: { qmp: string; name?: string }): Promise<DomainView>;
  /** Lets an attached QEMU go; it runs on. */
  detachDomain(domain: string): Promise<void>;
  /** Live XML when it runs and `inactive` is not set. */
  domainXml(domain: string, options: { inactive: boolean }): Promise<string>;
  domainDisks(domain: string): Promise<DiskView[]>;

  suspendDomain(domain: string): Promise<DomainView>;
  resumeDomain(domain: string): Promise<DomainView>;
  /** Asks the guest; ends when it was asked. */
  shutdownDomain(domain: string, request: ShutdownBody): Promise<void>;
  rebootDomain(domain: string, request: ShutdownBody): Promise<void>;
  /** Ends when the memory is in the file and QEMU is gone. */
  saveDomain(domain: string, request: SaveBody): Promise<OperationView>;
  restoreDomain(request: RestoreBody): Promise<DomainView>;
  domainInfo(domain: string): Promise<DomainInfoView>;
  blockInfo(domain: string, disk: string): Promise<BlockInfoView>;
  blockStats(domain: string, disk: string): Promise<BlockStatsView>;
  /** How many file systems were frozen. A Linux guest never thaws them by itself. */
  freezeFilesystems(domain: string, mountpoints?: readonly string[]): Promise<number>;
  thawFilesystems(domain: string, mountpoints?: readonly string[]): Promise<number>;
  /** Of a persistent domain that does not run. */
  renameDomain(domain: string, newName: string): Promise<DomainView>;
  attachDisk(domain: string, request: AttachDiskBody): Promise<DiskView>;
  detachDisk(domain: string, disk: string, request: DetachDiskBody): Promise<void>;
}

export interface SnapshotCases {
  /** Ends when the snapshot is taken and every mirror is ready. With `printXml` only `xml` is returned and nothing is done. */
  createSnapshot(domain: string, request: SnapshotCreateBody): Promise<SnapshotCreatedView>;
  /** In the order of their names, or parents first with `topological`. */
  listSnapshots(domain: string, filter?: SnapshotFilter): Promise<SnapshotView[]>;
  getSnapshot(domain: string, snapshot: string): Promise<SnapshotView>;
  /** `QM_NO_CURRENT_SNAPSHOT` when there is none. */
  currentSnapshot(domain: string): Promise<SnapshotView>;
  setCurrentSnapshot(domain: string, snapshot: string): Promise<SnapshotView>;
  snapshotXml(domain: string, snapshot: string): Promise<string>;
  /** Ends when the domain is as the snapshot says. What it held before, and no snapshot has, is lost. */
  revertSnapshot(domain: string, snapshot: string, request: SnapshotRevertBody): Promise<OperationView>;
  /** Ends when every layer that nobody needs any more is merged or removed. No operation where nothing but metadata changed. */
  deleteSnapshot(domain: string, snapshot: string, request: SnapshotDeleteBody): Promise<SnapshotDeletedView>;
  /** What `deleteSnapshot` would do. */
  previewDelete(domain: string, snapshot: string, request: SnapshotDeleteBody): Promise<SnapshotDeletedView>;
  /** Ends the snapshot's mirrors; the snapshot stays. No operation is needed to abort the mirrors of a domain that does not run. */
  endMirrors(domain: string, snapshot: string, how: "pivot" | "abort"): Promise<OperationView | undefined>;
  /** Starts broken mirrors again, over the files that they had. Ends when every mirror is ready. */
  restartMirrors(domain: string, snapshot: string): Promise<OperationView>;
}

export interface StorageCases {
  /** Returns as soon as the operation is journalled and under way. */
  migrateStorage(domain: string, request: MigrateBody): Promise<OperationView>;
  cloneStorage(domain: string, request: CloneBody): Promise<OperationView>;

  /** Ends when the copy is ready; it then follows the disk until `endBlockJob`. Returns as soon as it is under way. */
  blockCopy(domain: string, disk: string, request: BlockCopyBody): Promise<OperationView>;
  /** Merges upper layers into a lower one; the active image too, without asking again. Returns as soon as it is under way. */
  blockCommit(domain: string, disk: string, request: BlockCommitBody): Promise<OperationView>;
  blockPull(domain: string, disk: string, request: BlockPullBody): Promise<OperationView>;
  /** Absent: nothing is done to the disk. */
  blockJob(domain: string, disk: string): Promise<BlockJobView | undefined>;
  /** Pivots to a ready copy, or gives up whatever is done to the disk. */
  endBlockJob(domain: string, disk: string, how: "pivot" | "abort"): Promise<OperationView>;
  setBlockJobSpeed(domain: string, disk: string, bytesPerS: number): Promise<BlockJobView>;
  blockResize(domain: string, disk: string, sizeBytes: number): Promise<void>;
}

export interface OperationCases {
  /** Newest first. */
  listOperations(filter: { domain?: string; running?: boolean }): Promise<OperationView[]>;
  getOperation(id: string): Promise<OperationView>;
  /** Resolves when it has ended. */
  waitOperation(id: string, signal: AbortSignal): Promise<OperationView>;
  /** Asks it to stop and roll back; refused once a pivot is decided. Resolves when it has ended. */
  cancelOperation(id: string): Promise<OperationView>;
  setSpeed(id: string, bytesPerS: number): Promise<OperationView>;

  /** Events after `since` (all that are kept when 0), then new ones, until `signal` aborts. */
  watchEvents(filter: { domain?: string; since?: number }, signal: AbortSignal): AsyncIterable<EventView>;
  /** Views of one operation: the present one, then each change, ending with the final one. */
  watchOperation(id: string, signal: AbortSignal): AsyncIterable<OperationView>;
}

export interface RecoveryCases {
  /** What did not come to its end by itself, of a domain or of all; changes nothing. `QM_NO_DOMAIN`: never heard of it, or long ago. */
  showRecovery(domain?: string): Promise<RecoveryView>;
  /** Does every action that it shows and that is not `wait`, then shows what is left. One that fails again is shown again. */
  applyRecovery(domain?: string): Promise<RecoveryView>;
}

export interface HostCases {
  doctor(): Promise<DoctorCheck[]>;
}
