/** Disks, memory files and file systems of a domain. */
import { QmError } from "../../base/errors.ts";
import { parseDiskDocument } from "../../model/disk-document.ts";
import * as protocol from "../protocol/index.ts";
import type { Param } from "../protocol/index.ts";
import { findDomain } from "./lookups.ts";
import { serve } from "./served.ts";
import { kib } from "./views.ts";

const maxBytes = BigInt(Number.MAX_SAFE_INTEGER);

/** A size or speed of the wire as a number of bytes. */
export function toBytes(value: bigint, unitBytes: bigint): number {
  if (value > maxBytes / unitBytes) throw new QmError("QM_INVALID", { reason: `${value} is too large` });
  return Number(value * unitBytes);
}

export const deviceProcedures = [
  serve(protocol.domainGetBlockInfo, "read", async ({ facade }, { domain, path }) => {
    const info = await facade.blockInfo(domain.uuid, path);
    return {
      allocationBytes: BigInt(info.allocationBytes),
      capacityBytes: BigInt(info.capacityBytes),
      physicalBytes: BigInt(info.physicalBytes),
    };
  }),
  serve(protocol.domainBlockStats, "read", async ({ facade }, { domain, path }) => {
    const stats = await facade.blockStats(domain.uuid, path);
    return {
      readRequests: BigInt(stats.rdReq),
      readBytes: BigInt(stats.rdBytes),
      writeRequests: BigInt(stats.wrReq),
      writeBytes: BigInt(stats.wrBytes),
      errors: -1n, // not counted
    };
  }),
  serve(protocol.domainBlockStatsFlags, "read", async ({ facade }, { domain, path, count }) => {
    const stats = await facade.blockStats(domain.uuid, path);
    const values: readonly (readonly [string, number])[] = [
      ["wr_bytes", stats.wrBytes],
      ["wr_operations", stats.wrReq],
      ["rd_bytes", stats.rdBytes],
      ["rd_operations", stats.rdReq],
      ["flush_operations", stats.flushReq],
      ["wr_total_times", stats.wrTotalTimesNs],
      ["rd_total_times", stats.rdTotalTimesNs],
      ["flush_total_times", stats.flushTotalTimesNs],
    ];
    if (count === 0) return { params: [], count: values.length };
    const params = values
      .slice(0, Math.max(0, count))
      .map(([name, value]): Param => ({ name, value: { type: "llong", value: BigInt(value) } }));
    return { params, count: params.length };
  }),
  serve(protocol.domainBlockResize, "write", async ({ facade }, { domain, disk, size, flags }) => {
    await facade.blockResize(domain.uuid, disk, toBytes(size, flags.bytes ? 1n : kib));
    return {};
  }),
  serve(protocol.domainGetDiskErrors, "read", async (session, { domain }) => {
    await findDomain(session, domain);
    return { errors: [], count: 0 };
  }),

  serve(protocol.domainAttachDevice, "write", async ({ facade }, { domain, xml }) => {
    await facade.attachDisk(domain.uuid, { xml, live: true });
    return {};
  }),
  serve(protocol.domainAttachDeviceFlags, "write", async ({ facade }, { domain, xml, flags }) => {
    await facade.attachDisk(domain.uuid, { xml, ...flags });
    return {};
  }),
  serve(protocol.domainDetachDevice, "write", async ({ facade }, { domain, xml }) => {
    await facade.detachDisk(domain.uuid, parseDiskDocument(xml).target, { live: true });
    return {};
  }),
  serve(protocol.domainDetachDeviceFlags, "write", async ({ facade }, { domain, xml, flags }) => {
    await facade.detachDisk(domain.uuid, parseDiskDocument(xml).target, flags);
    return {};
  }),

  serve(protocol.domainSave, "write", async ({ facade }, { domain, to }) => {
    await facade.saveDomain(domain.uuid, { file: to });
    return {};
  }),
  serve(protocol.domainSaveFlags, "write", async ({ facade }, { domain, to, xml, flags }) => {
    await facade.saveDomain(domain.uuid, { file: to, ...flags, ...(xml === null ? {} : { xml }) });
    return {};
  }),
  serve(protocol.domainRestore, "write", async ({ facade }, { from }) => {
    await facade.restoreDomain({ file: from });
    return {};
  }),
  serve(protocol.domainRestoreFlags, "write", async ({ facade }, { from, xml, flags }) => {
    await facade.restoreDomain({ file: from, ...flags, ...(xml === null ? {} : { xml }) });
    return {};
  }),

  serve(protocol.domainFsFreeze, "write", async ({ facade }, { domain, mountpoints }) => ({
    filesystems: await facade.freezeFilesystems(domain.uuid, mountpoints.length === 0 ? undefined : mountpoints),
  })),
  serve(protocol.domainFsThaw, "write", async ({ facade }, { domain, mountpoints }) => ({
    filesystems: await facade.thawFilesystems(domain.uuid, mountpoints.length === 0 ? undefined : mountpoints),
  })),
];
