/** libvirt's remote protocol as far as qmirror speaks it: a table of our own, from which TypeScript infers every value's type. */
export * from "./block-jobs.ts";
export * from "./connect.ts";
export * from "./domains.ts";
export * from "./events.ts";
export type { Procedure } from "./procedure.ts";
export * from "./snapshots.ts";
export * from "./types.ts";
