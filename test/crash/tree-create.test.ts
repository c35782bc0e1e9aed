/**
 * The daemon is killed while it takes a snapshot or saves, alone and together with QEMU, at every point that the engine names. There is
 * the whole snapshot or nothing of it, and a guest that ran runs on.
 */
import { describe } from "node:test";
import { scenariosOf, testDeaths } from "./tree-deaths.ts";

describe("a snapshot or a save is interrupted", () => {
  for (const scenario of scenariosOf("snapshot", "save")) testDeaths(scenario);
});
