/**
 * The use cases that the daemon's front ends (HTTP, libvirt's protocol) call. Every method rejects with a `QmError`.
 * `domain` is a name or a uuid everywhere.
 */
import type {
  CloneBody,
  DiskView,
  DoctorCheck,
  DomainView,
  EventView,
  MigrateBody,
  OperationView,
  SnapshotCreateBody,
  SnapshotView,
} from "../api-types/index.ts";

export interface Facade {
  listDomains(): Promise<DomainView[]>;
  getDomain(domain: string): Promise<DomainView>;
  /** Makes a persistent domain, or replaces the definition of the one with that name and uuid; a running one goes on as it is. */
  defineDomain(xml: string): Promise<DomainView>;
  /** Starts a transient domain. */
  createDomain(xml: string): Promise<DomainView>;
  startDomain(domain: string): Promise<DomainView>;
  /** Ends QEMU at once. A transient domain is gone afterwards. */
  destroyDomain(domain: string): Promise<DomainView>;
  undefineDomain(domain: string): Promise<void>;
  attachDomain(request: { qmp: string; name?: string }): Promise<DomainView>;
  /** Lets an attached QEMU go; it runs on. */
  detachDomain(domain: string): Promise<void>;
  /** Live XML when it runs and `inactive` is not set. */
  domainXml(domain: string, options: { inactive: boolean }): Promise<string>;
  domainDisks(domain: string): Promise<DiskView[]>;

  /** Ends when the snapshot is taken and every mirror is ready. With `printXml` only `xml` is returned and nothing is done. */
  createSnapshot(
    domain: string,
    request: SnapshotCreateBody,
  ): Promise<{ snapshot?: SnapshotView; xml: string; operation?: OperationView }>;
  listSnapshots(domain: string): Promise<SnapshotView[]>;
  getSnapshot(domain: string, snapshot: string): Promise<SnapshotView>;
  snapshotXml(domain: string, snapshot: string): Promise<string>;
  /** Ends the snapshot's mirrors; the snapshot stays. No operation is needed to abort the mirrors of a domain that does not run. */
  endMirrors(domain: string, snapshot: string, how: "pivot" | "abort"): Promise<OperationView | undefined>;

  /** Returns as soon as the operation is journalled and under way. */
  migrateStorage(domain: string, request: MigrateBody): Promise<OperationView>;
  cloneStorage(domain: string, request: CloneBody): Promise<OperationView>;

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

  doctor(): Promise<DoctorCheck[]>;
}
