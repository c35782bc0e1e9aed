/** All fuzzers by their names. */
import { openHttpTarget } from "./fuzz-http.ts";
import { qmpTarget } from "./fuzz-qmp.ts";
import type { FuzzTarget } from "./fuzz-target.ts";
import { xmlTarget } from "./fuzz-xml.ts";

export const fuzzTargets: Readonly<Record<string, () => Promise<FuzzTarget>>> = {
  xml: async () => xmlTarget,
  qmp: async () => qmpTarget,
  http: openHttpTarget,
};
