/** The use cases of moving, copying and merging disks. */
import { isQmError, QmError } from "../base/errors.ts";
import { startBlockCopy } from "./block-copy.ts";
import { endBlockJob, limitBlockJob, mirroredOnlyDisk, viewBlockJob } from "./block-jobs.ts";
import { startBlockCommit, startBlockPull } from "./block-merge.ts";
import { resizeDisk } from "./block-resize.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import type { SnapshotCases, StorageCases } from "./facade.ts";
import { finished } from "./running-operation.ts";
import { startMove } from "./storage-moves.ts";

export function createStorageCases(
  deps: LifecycleDeps,
  { endMirrors }: Pick<SnapshotCases, "endMirrors">,
): StorageCases {
  const { registry } = deps;
  const find = async (domain: string): Promise<DomainEntry> => await Promise.resolve(registry.get(domain));
  return {
    async migrateStorage(domain, request) {
      return (await startMove(deps, await find(domain), "migrate", request)).view();
    },

    async cloneStorage(domain, request) {
      return (await startMove(deps, await find(domain), "clone", request)).view();
    },

    async blockCopy(domain, disk, request) {
      return (await startBlockCopy(deps, await find(domain), disk, request)).view();
    },

    async blockCommit(domain, disk, request) {
      return (await startBlockCommit(deps, await find(domain), disk, request)).view();
    },

    async blockPull(domain, disk, request) {
      return (await startBlockPull(deps, await find(domain), disk, request)).view();
    },

    async blockJob(domain, disk) {
      return await viewBlockJob(deps, await find(domain), disk);
    },

    async endBlockJob(domain, disk, how) {
      const entry = await find(domain);
      const mirrored = mirroredOnlyDisk(registry, entry, disk);
      if (mirrored === undefined) {
        const running = await endBlockJob(deps, entry, disk, how);
        // To give an operation up is to cancel it: that is what was asked for.
        return await finished(running).catch((error: unknown) => {
          if (how === "abort" && isQmError(error, "QM_CANCELLED")) return running.view();
          throw error;
        });
      }
      const ended = await endMirrors(domain, mirrored.name, how);
      if (ended !== undefined) return ended;
      throw new QmError("QM_DOMAIN_NOT_RUNNING", { domain: entry.name });
    },

    async setBlockJobSpeed(domain, disk, bytesPerS) {
      return await limitBlockJob(deps, await find(domain), disk, bytesPerS);
    },

    async blockResize(domain, disk, sizeBytes) {
      await resizeDisk(deps, await find(domain), disk, sizeBytes);
    },
  };
}
