/** What is done to one disk. */
import type { BlockCopyBody, BlockJobView, OperationView } from "../../api-types/index.ts";
import { isQmError, QmError } from "../../base/errors.ts";
import { parseCopyTarget } from "./copy-target.ts";
import * as protocol from "../protocol/index.ts";
import type { WireDomain } from "../protocol/index.ts";
import { toBytes } from "./device-procedures.ts";
import { finishOperation } from "./lookups.ts";
import { serve, type Session } from "./served.ts";

const mib = 1024n * 1024n;

/** libvirt's number for the type; a mirror is a copy to it. */
const typeNumbers: Readonly<Record<BlockJobView["type"], number>> = {
  pull: protocol.blockJobTypes.pull,
  copy: protocol.blockJobTypes.copy,
  mirror: protocol.blockJobTypes.copy,
  commit: protocol.blockJobTypes.commit,
  "active-commit": protocol.blockJobTypes.activeCommit,
};

/** A bandwidth of the wire, in MiB/s or with `bytes` in bytes/s; 0 is no limit. */
function speed(bandwidth: bigint, { bytes }: { readonly bytes: boolean }): { bytesPerS?: number } {
  return bandwidth === 0n ? {} : { bytesPerS: toBytes(bandwidth, bytes ? 1n : mib) };
}

export const blockJobProcedures = [
  serve(protocol.getBlockJobInfo, "read", async ({ facade }, { domain, path, flags }) => {
    const job = await facade.blockJob(domain.uuid, path);
    if (job === undefined) return { found: false, type: 0, bandwidth: 0n, done: 0n, total: 0n };
    return {
      found: true,
      type: typeNumbers[job.type],
      bandwidth: BigInt(job.bytesPerS) / (flags.bytes ? 1n : mib),
      ...progress(job),
    };
  }),
  serve(protocol.blockJobAbort, "write", async (session, { domain, path, flags }) => {
    const { facade, targets } = session;
    try {
      const operation = await begin(session, domain, path, (disk) =>
        facade.endBlockJob(domain.uuid, disk, flags.pivot ? "pivot" : "abort"),
      );
      if (flags.pivot || !flags.async) await finishEnd(session, operation, flags.pivot);
    } catch (error) {
      const isDone = flags.pivot && isQmError(error, "QM_NO_BLOCK_JOB");
      if (!isDone || !targets.takePivot(domain.uuid, String(error.fields.disk))) throw error;
    }
    return {};
  }),
  serve(protocol.blockJobSetSpeed, "write", async ({ facade }, { domain, path, bandwidth, flags }) => {
    await facade.setBlockJobSpeed(domain.uuid, path, toBytes(bandwidth, flags.bytes ? 1n : mib));
    return {};
  }),
  serve(protocol.blockPull, "write", async (session, { domain, path, bandwidth, flags }) => {
    await begin(session, domain, path, (disk) => session.facade.blockPull(domain.uuid, disk, speed(bandwidth, flags)));
    return {};
  }),
  serve(protocol.blockRebase, "write", async (session, { domain, path, base, bandwidth, flags }) => {
    if (flags.copy) {
      if (base === null) throw new QmError("QM_INVALID", { reason: "a copy needs a destination" });
      const request: BlockCopyBody = {
        dest: base,
        ...(flags.copyDevice ? { destType: "block" } : {}),
        ...(flags.copyRaw ? { format: "raw" } : {}),
        shallow: flags.shallow,
        reuseExternal: flags.reuseExternal,
        ...speed(bandwidth, flags),
      };
      await begin(session, domain, path, (disk) => session.facade.blockCopy(domain.uuid, disk, request));
      return {};
    }
    if (flags.shallow || flags.reuseExternal || flags.copyRaw || flags.copyDevice) {
      throw new QmError("QM_INVALID", { reason: "these flags belong to a copy" });
    }
    const request = { ...(base === null ? {} : { base }), ...speed(bandwidth, flags) };
    await begin(session, domain, path, (disk) => session.facade.blockPull(domain.uuid, disk, request));
    return {};
  }),
  serve(protocol.blockCommit, "write", async (session, { domain, disk: path, base, top, bandwidth, flags }) => {
    if (!flags.active && top === null) {
      throw new QmError("QM_INVALID", { reason: "merging the active image needs the flag that says so (--active)" });
    }
    const request = {
      ...(base === null ? {} : { base }),
      ...(top === null ? {} : { top }),
      shallow: flags.shallow,
      ...speed(bandwidth, flags),
    };
    await begin(session, domain, path, async (disk) => {
      const operation = await session.facade.blockCommit(domain.uuid, disk, request);
      if (top === null) session.targets.expectPivot(domain.uuid, disk);
      return operation;
    });
    return {};
  }),
  serve(protocol.blockCopy, "write", async (session, { domain, path, xml, params, flags }) => {
    let bytesPerS = 0;
    for (const { name, value } of params) {
      if (name !== "bandwidth" || value.type !== "ullong") {
        throw new QmError("QM_UNSUPPORTED", { what: `the parameter '${name}'`, detail: "" });
      }
      bytesPerS = toBytes(value.value, 1n);
    }
    // The job of a transient or persistent domain is the same, and every write is synchronous anyway.
    const { shallow, reuseExternal } = flags;
    const request = { ...parseCopyTarget(xml), shallow, reuseExternal, bytesPerS };
    await begin(session, domain, path, (disk) => session.facade.blockCopy(domain.uuid, disk, request));
    return {};
  }),
];

/** Starts an operation on the disk that `name` is the target or the image of, so that its events can name the disk. */
async function begin(
  { facade, targets }: Session,
  { uuid }: WireDomain,
  name: string,
  start: (disk: string) => Promise<OperationView>,
): Promise<OperationView> {
  const disks = await facade.domainDisks(uuid);
  const disk = disks.find(({ target }) => target === name) ?? disks.find(({ chain }) => chain[0]?.path === name);
  const target = disk?.target ?? name;
  const operation = await start(target);
  targets.remember(operation.id, target);
  return operation;
}

/** As libvirt tells it: equal only when the job is ready, and never 0 of 0 before that. */
function progress({ state, doneBytes, totalBytes }: BlockJobView): { done: bigint; total: bigint } {
  if (state === "ready") return { done: BigInt(totalBytes), total: BigInt(totalBytes) };
  const total = Math.max(totalBytes, 1);
  return { done: BigInt(Math.min(doneBytes, total - 1)), total: BigInt(total) };
}

/** Giving up a running operation ends with that operation cancelled: which was asked for. */
async function finishEnd(session: Session, operation: OperationView, pivot: boolean): Promise<void> {
  if (!pivot && operation.state === "cancelled") return;
  await finishOperation(session, operation);
}
