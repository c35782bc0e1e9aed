/**
 * The daemon is killed while it deletes a snapshot, alone and together with QEMU: at every point that the engine names, and in the middle
 * of merges. Snapshots that stay show what they showed, the deletion comes to its end, and nothing is left over.
 */
import { describe } from "node:test";
import { scenariosOf, testAskingAgain, testDeaths, testInstants } from "./tree-deaths.ts";

const deletions = scenariosOf("delete");

describe("a deletion is interrupted", () => {
  for (const scenario of deletions) testDeaths(scenario);
});

describe("a deletion fails", () => {
  for (const scenario of deletions) testAskingAgain(scenario);
});

describe("a merge is interrupted", () => {
  for (const scenario of deletions.slice(0, 3)) testInstants(scenario, 1);
});
