import type { DomainState } from "./domains.ts";

/** `virsh dominfo`. */
export interface DomainInfoView {
  readonly id: number | null;
  readonly name: string;
  readonly uuid: string;
  readonly osType: string;
  readonly state: DomainState;
  readonly reason: string;
  readonly vcpus: number;
  /** Time that QEMU's threads have had; absent when it does not run. */
  readonly cpuTimeNs?: number;
  readonly maxMemoryBytes: number;
  readonly usedMemoryBytes: number;
  readonly persistent: boolean;
  readonly managedSave: boolean;
  readonly autostart: boolean;
}

/** `virsh domblkinfo`. */
export interface BlockInfoView {
  readonly target: string;
  /** The guest's view of the size. */
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly physicalBytes: number;
}

/** `virsh domblkstat`; since the start of QEMU. */
export interface BlockStatsView {
  readonly target: string;
  readonly rdReq: number;
  readonly rdBytes: number;
  readonly wrReq: number;
  readonly wrBytes: number;
  readonly flushReq: number;
  readonly rdTotalTimesNs: number;
  readonly wrTotalTimesNs: number;
  readonly flushTotalTimesNs: number;
}

export interface ShutdownBody {
  /** Tried in this order; default: the agent where there is one, else acpi. */
  readonly modes?: readonly ("acpi" | "agent")[];
}

export interface SaveBody {
  /** Absolute path of the new file. */
  readonly file: string;
  /** State after `restore`; default: as it is now. */
  readonly running?: boolean;
  readonly paused?: boolean;
  /** A `<domain>` to restore with, of the same guest-visible hardware. */
  readonly xml?: string;
}

export interface RestoreBody {
  readonly file: string;
  readonly running?: boolean;
  readonly paused?: boolean;
  readonly xml?: string;
}

export interface FreezeBody {
  /** Mount points in the guest; absent: all. */
  readonly mountpoints?: readonly string[];
}

export interface FreezeView {
  readonly filesystems: number;
}

export interface RenameBody {
  readonly newName: string;
}

/** Where a change of devices takes effect; none set: the running domain when it runs, else the definition. */
export interface DeviceScope {
  readonly live?: boolean;
  readonly config?: boolean;
  /** The definition, and the running domain when it runs. */
  readonly persistent?: boolean;
}

export interface AttachDiskBody extends DeviceScope {
  /** A `<disk>`. */
  readonly xml: string;
}

export type DetachDiskBody = DeviceScope;

export interface UndefineOptions {
  /** Forget the domain's snapshots with it. */
  readonly snapshotsMetadata?: boolean;
}
