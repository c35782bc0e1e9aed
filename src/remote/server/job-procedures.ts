/** The operation that a domain is busy with, as libvirt's job. */
import { QmError } from "../../base/errors.ts";
import * as protocol from "../protocol/index.ts";
import type { Param } from "../protocol/index.ts";
import { findDomain } from "./lookups.ts";
import { serve } from "./served.ts";

/** virDomainJobType. */
const jobTypes = { none: 0, bounded: 1, unbounded: 2 } as const;

export const jobProcedures = [
  serve(protocol.domainGetJobStats, "read", async (session, { domain, flags }) => {
    const { operation: id } = await findDomain(session, domain);
    // What has ended is told by the operation itself, not by the domain.
    if (id === undefined || flags.completed) return { type: jobTypes.none, params: [] };
    const { progress, startedAt } = await session.facade.getOperation(id);
    const total = progress.reduce((sum, disk) => sum + disk.totalBytes, 0);
    const done = progress.reduce((sum, disk) => sum + disk.doneBytes, 0);
    const counts = {
      time_elapsed: Math.max(0, Date.now() - Date.parse(startedAt)),
      disk_total: total,
      disk_processed: done,
      disk_remaining: Math.max(0, total - done),
    };
    const params = Object.entries(counts).map(([name, value]): Param => ({
      name,
      value: { type: "ullong", value: BigInt(value) },
    }));
    return { type: total > 0 ? jobTypes.bounded : jobTypes.unbounded, params };
  }),
  serve(protocol.domainAbortJob, "write", async (session, { domain }) => {
    const { operation: id, name } = await findDomain(session, domain);
    if (id === undefined) throw new QmError("QM_NO_JOB", { domain: name });
    await session.facade.cancelOperation(id);
    return {};
  }),
];
