/**
 * The daemon is killed while it goes back to a snapshot, alone and together with QEMU, at every point that the engine names. Before the
 * decision the domain is and does what it was and did; after it, what was asked for.
 */
import { describe } from "node:test";
import { scenariosOf, testDeaths } from "./tree-deaths.ts";

describe("going back is interrupted", () => {
  for (const scenario of scenariosOf("revert")) testDeaths(scenario);
});
