/**
 * The vocabulary of the monitors of 2012 (RHEL 6.3's, and what was proposed for QEMU 1.1), as far as the reopen dialects
 * use it. Block devices are named by `device`: there are no node names, and a mirror is not a job with an id.
 */
import { allSettledOrFirstError } from "../../base/settle.ts";
import { QmError, errorText, isQmError } from "../../base/errors.ts";
import type { QmpClient } from "../../qmp/client-types.ts";
import type { Monitor } from "../monitor.ts";
import type { JobFailure, MirroredDiskPlan, SnapshotDiskPlan } from "./dialect.ts";

export type ReopenPrefix = "" | "__com.redhat_";

export interface OldBlockInfo {
  readonly device: string;
  readonly inserted?: { readonly file: string; readonly drv: string };
}

export interface OldBlockJob {
  readonly type: string;
  readonly device: string;
  readonly len: number;
  readonly offset: number;
}

interface MirrorTarget {
  readonly device: string;
  readonly target: string;
  readonly full: boolean;
  readonly format: string;
  readonly mode: "existing";
}

interface SnapshotFile {
  readonly device: string;
  readonly "snapshot-file": string;
  readonly format: string;
  readonly mode: "existing";
}

export type OldAction =
  | { readonly type: "blockdev-snapshot-sync"; readonly data: SnapshotFile }
  | { readonly type: `${ReopenPrefix}drive-mirror`; readonly data: MirrorTarget };

type Nothing = Record<string, never>;

export type ReopenCommands = {
  "query-block": { args: undefined; result: readonly OldBlockInfo[] };
  "query-block-jobs": { args: undefined; result: readonly OldBlockJob[] };
  "query-status": { args: undefined; result: { readonly running: boolean } };
  stop: { args: undefined; result: Nothing };
  cont: { args: undefined; result: Nothing };
  transaction: { args: { readonly actions: readonly OldAction[] }; result: Nothing };
} & {
  [N in `${ReopenPrefix}drive-mirror`]: { args: MirrorTarget & { readonly speed?: number }; result: Nothing };
} & {
  [N in `${ReopenPrefix}drive-reopen`]: {
    args: { readonly device: string; readonly "new-image-file": string; readonly format: string };
    result: Nothing;
  };
};

export type OldMonitor = QmpClient<ReopenCommands>;

/** The same connection with the words that such a QEMU knows: `Monitor` is typed with those of today's. */
export function asOldMonitor(monitor: Monitor): OldMonitor {
  return monitor as unknown as OldMonitor;
}

export function snapshotActions(disk: SnapshotDiskPlan, prefix: ReopenPrefix): OldAction[] {
  const snapshot: OldAction = {
    type: "blockdev-snapshot-sync",
    data: {
      device: deviceOf(disk),
      "snapshot-file": disk.overlay.image.path,
      format: disk.overlay.image.format,
      mode: "existing",
    },
  };
  return isMirrored(disk) ? [snapshot, { type: `${prefix}drive-mirror`, data: mirrorTarget(disk) }] : [snapshot];
}

export function mirrorTarget(disk: MirroredDiskPlan) {
  const { path, format } = disk.mirror.image;
  return { device: deviceOf(disk), target: path, full: false, format, mode: "existing" } as const;
}

/** `drive-reopen` for all, pipelined. Returns QEMU's refusals by disk; what became of a refused disk must be looked at. */
export async function reopenDisks(
  monitor: OldMonitor,
  prefix: ReopenPrefix,
  disks: readonly MirroredDiskPlan[],
  role: "overlay" | "mirror",
  timeoutMs?: number,
): Promise<ReadonlyMap<string, string>> {
  const failures = await allSettledOrFirstError(
    disks.map(async (disk): Promise<JobFailure | undefined> => {
      const { path, format } = disk[role].image;
      try {
        await monitor.execute(
          `${prefix}drive-reopen`,
          { device: deviceOf(disk), "new-image-file": path, format },
          timeoutMs === undefined ? {} : { timeoutMs },
        );
        return undefined;
      } catch (error) {
        if (isQmError(error, "QM_QMP_COMMAND")) return { target: disk.target, reason: errorText(error) };
        throw error;
      }
    }),
  );
  return new Map(failures.flatMap((failure) => (failure === undefined ? [] : [[failure.target, failure.reason]])));
}

function isMirrored(disk: SnapshotDiskPlan): disk is MirroredDiskPlan {
  return disk.mirror !== undefined;
}

function deviceOf(disk: SnapshotDiskPlan): string {
  if (disk.device !== "") return disk.device;
  throw new QmError("QM_UNSUPPORTED", {
    what: `disk '${disk.target}'`,
    detail: ": QEMU has no block backend name for it",
  });
}
