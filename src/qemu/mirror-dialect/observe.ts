/** How the disks of a plan stand in QEMU: `query-block` and `query-jobs`, in one pipeline. */
import { queryJobs } from "../block-jobs.ts";
import { qomPath } from "../disk-names.ts";
import type { Monitor } from "../monitor.ts";
import type { DiskObservation, SnapshotDiskPlan } from "./dialect.ts";

export async function observeDisks(monitor: Monitor, disks: readonly SnapshotDiskPlan[]): Promise<DiskObservation[]> {
  const [blocks, jobs] = await Promise.all([monitor.execute("query-block"), queryJobs(monitor)]);
  return disks.map((disk) => {
    const block = blocks.find((entry) =>
      disk.qdev === "" ? entry.device === disk.device : qomPath(entry.qdev) === disk.qdev,
    );
    const job = jobs.find((entry) => entry.id === disk.mirror?.jobId);
    return {
      target: disk.target,
      active: activeImage(disk, block?.inserted?.["node-name"], block?.inserted?.file),
      ...(job === undefined ? {} : { job: job.status }),
      ...(job?.error === undefined ? {} : { jobError: job.error }),
    };
  });
}

/** By node name where we gave it, otherwise by file: `drive-mirror` names its nodes itself. */
function activeImage(
  disk: SnapshotDiskPlan,
  node: string | undefined,
  file: string | undefined,
): DiskObservation["active"] {
  const images = [
    { role: "mirror", image: disk.mirror },
    { role: "overlay", image: disk.overlay },
    { role: "base", image: disk.base },
  ] as const;
  const found = images.find(({ image }) => image !== undefined && (image.node === node || image.image.path === file));
  return found?.role ?? "unknown";
}
