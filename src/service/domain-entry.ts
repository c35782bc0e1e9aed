/** A domain as the daemon holds it in memory: what the state file says, plus the connection to its QEMU. */
import { QmError } from "../base/errors.ts";
import { withSource } from "../model/disk-backing.ts";
import type { DomainDefinition } from "../model/domain.ts";
import type { ImageRef } from "../model/image.ts";
import type { MirrorState, Snapshot } from "../model/snapshot.ts";
import type { DiskCopy } from "../qemu/block-copy.ts";
import type { QemuIdentity } from "../qemu/identity.ts";
import type { Monitor } from "../qemu/monitor.ts";
import type { StoragePlan } from "../engine/steps/storage-plan.ts";

/** The running QEMU, as it is stored. */
export interface StoredRun {
  /** Number of the run, as `virsh list` shows it. */
  readonly id: number;
  /** Absent while it is being started. */
  readonly identity?: QemuIdentity;
  /** Started by somebody else. */
  readonly adopted: boolean;
  /** What it runs with, its disks' present images included. */
  readonly definition: DomainDefinition;
  /** Block copies that follow their disks. */
  readonly copies?: readonly DiskCopy[];
}

/** The mirrors of a snapshot, as they are stored. */
export interface StoredMirrors {
  /** The plan that made them: it has every name that is needed to end them. */
  readonly plan: StoragePlan;
  readonly states: Readonly<Record<string, { readonly state: MirrorState; readonly reason?: string }>>;
}

export interface SnapshotEntry {
  readonly domain: string;
  readonly name: string;
  readonly current: boolean;
  /** Deleting it has begun: parts of its data may be gone. */
  readonly deleting: boolean;
  readonly document: Snapshot;
  readonly mirrors?: StoredMirrors;
}

export interface DomainEntry {
  readonly uuid: string;
  name: string;
  /** Absent: transient. */
  definition?: DomainDefinition;
  run?: StoredRun;
  /** Present while its QEMU is connected. */
  monitor?: Monitor;
  paused: boolean;
  /** The operation or verb that has the domain for itself. */
  busy?: {
    readonly what: string;
    readonly operation?: string;
    /** Nobody is at it: `recover` tries again. */
    readonly failure?: Error;
  };
}

/** The definition that counts now: the live one when it runs. */
export function presentDefinition(entry: DomainEntry): DomainDefinition {
  const definition = entry.run?.definition ?? entry.definition;
  if (definition === undefined) throw new QmError("QM_DOMAIN_NOT_RUNNING", { domain: entry.name });
  return definition;
}

export function requireMonitor(entry: DomainEntry): Monitor {
  if (entry.run === undefined) throw new QmError("QM_DOMAIN_NOT_RUNNING", { domain: entry.name });
  if (entry.monitor === undefined) throw new QmError("QM_QEMU_GONE", { domain: entry.name });
  return entry.monitor;
}

/** `definition` with other active images, for the disks that it has; those not named stay. */
export function withImages(definition: DomainDefinition, images: ReadonlyMap<string, ImageRef>): DomainDefinition {
  return {
    ...definition,
    disks: definition.disks.map((disk) => {
      const source = images.get(disk.target);
      return source === undefined ? disk : withSource(disk, source);
    }),
  };
}
