/** Everything that is served, by number. */
import { blockJobProcedures } from "./block-job-procedures.ts";
import { connectProcedures } from "./connect-procedures.ts";
import { deviceProcedures } from "./device-procedures.ts";
import { domainProcedures } from "./domain-procedures.ts";
import { eventProcedures } from "./event-procedures.ts";
import { jobProcedures } from "./job-procedures.ts";
import { listProcedures } from "./list-procedures.ts";
import type { Served } from "./served.ts";
import { snapshotProcedures } from "./snapshot-procedures.ts";

export const servedProcedures: ReadonlyMap<number, Served> = new Map(
  [
    ...connectProcedures,
    ...listProcedures,
    ...domainProcedures,
    ...deviceProcedures,
    ...snapshotProcedures,
    ...blockJobProcedures,
    ...jobProcedures,
    ...eventProcedures,
  ].map((served) => [served.number, served]),
);
