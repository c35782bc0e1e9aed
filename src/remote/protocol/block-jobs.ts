/** Procedures about what is done to one disk. Bandwidths are MiB/s, or bytes/s where a flag says so. */
import { flagSet, int, optional, string, truth, uhyper } from "../xdr/index.ts";
import { procedure } from "./procedure.ts";
import { domain, params } from "./types.ts";

export const blockJobAbort = procedure(
  237,
  "domain_block_job_abort",
  { domain, path: string, flags: flagSet({ async: 1 << 0, pivot: 1 << 1 }) },
  {},
);
export const getBlockJobInfo = procedure(
  238,
  "domain_get_block_job_info",
  { domain, path: string, flags: flagSet({ bytes: 1 << 0 }) },
  { found: truth, type: int, bandwidth: uhyper, done: uhyper, total: uhyper },
);
export const blockJobSetSpeed = procedure(
  239,
  "domain_block_job_set_speed",
  { domain, path: string, bandwidth: uhyper, flags: flagSet({ bytes: 1 << 0 }) },
  {},
);
export const blockPull = procedure(
  240,
  "domain_block_pull",
  { domain, path: string, bandwidth: uhyper, flags: flagSet({ bytes: 1 << 6 }) },
  {},
);
/** `copy` makes a copy of it, to the file `base`; otherwise it is a pull down to the layer `base`. */
export const blockRebase = procedure(
  266,
  "domain_block_rebase",
  {
    domain,
    path: string,
    base: optional(string),
    bandwidth: uhyper,
    flags: flagSet({
      ...{ shallow: 1 << 0, reuseExternal: 1 << 1, copyRaw: 1 << 2, copy: 1 << 3, copyDevice: 1 << 5, bytes: 1 << 6 },
    }),
  },
  {},
);
/** `active`: the active image may be merged. */
export const blockCommit = procedure(
  290,
  "domain_block_commit",
  {
    domain,
    disk: string,
    base: optional(string),
    top: optional(string),
    bandwidth: uhyper,
    flags: flagSet({ shallow: 1 << 0, active: 1 << 2, bytes: 1 << 4 }),
  },
  {},
);
/** `xml` is a `<disk>`; of the parameters, `bandwidth` is bytes/s. */
export const blockCopy = procedure(
  345,
  "domain_block_copy",
  {
    domain,
    path: string,
    xml: string,
    params: params(16),
    flags: flagSet({ shallow: 1 << 0, reuseExternal: 1 << 1, transientJob: 1 << 2, synchronousWrites: 1 << 3 }),
  },
  {},
);

/** Types of a block job, and states that its events tell. */
export const blockJobTypes = { pull: 1, copy: 2, commit: 3, activeCommit: 4 } as const;
export const blockJobStatuses = { completed: 0, failed: 1, cancelled: 2, ready: 3 } as const;
