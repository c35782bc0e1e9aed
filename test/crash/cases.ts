/** Where the daemon is made to die, and what has to hold afterwards. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { OperationView } from "../../src/api-types/index.ts";
import { planMove } from "../../src/engine/plans/plan-move.ts";
import { stepByName } from "../../src/engine/steps/index.ts";
import type { StepName } from "../../src/engine/steps/storage-plan.ts";
import { connectMonitor } from "../../src/qemu/monitor.ts";
import type { WitnessRig } from "../live/witness-rig.ts";
import type { Act } from "./actor.ts";

const actorPath = fileURLToPath(new URL("actor.ts", import.meta.url));

export interface Case {
  readonly verb: "migrate" | "clone";
  readonly dieAt: string;
  readonly failAt?: string;
}

/** The engine's own list of points: one before and one after each step of the plan, one for each step that is undone. */
export function casesOf(verb: "migrate" | "clone"): Case[] {
  const steps = stepsOf(verb);
  const forward = steps.flatMap((step) => [`before ${step}`, `after ${step}`]);
  // The last step that can still be undone.
  const lastUndoable = verb === "migrate" ? "prepare-pivot" : "copy-layers";
  const undone = steps.slice(0, steps.indexOf(lastUndoable) + 1).filter((step) => stepByName(step).undo !== undefined);
  return [
    ...forward.map((dieAt) => ({ verb, dieAt })),
    ...undone.map((step) => ({ verb, dieAt: `undo ${step}`, failAt: `after ${lastUndoable}` })),
  ];
}

function stepsOf(verb: "migrate" | "clone"): readonly StepName[] {
  return planMove({
    id: "0",
    kind: verb,
    domain: { uuid: "", name: "" },
    dialect: "blockdev",
    snapshot: { name: "s", creationTime: 0 },
    disks: [],
    directory: "/",
    flatten: false,
    verify: false,
    bytesPerS: 0,
    keepSource: false,
    prepareTimeoutMs: 0,
  }).steps;
}

export async function runActor(act: Act): Promise<string | number | null> {
  const child = spawn(process.execPath, [actorPath, JSON.stringify(act)], { stdio: ["ignore", "inherit", "inherit"] });
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  return signal ?? code;
}

/** No disk alone: all are below one directory, and nothing of the operation is left in the others. */
export async function assertOneSide(rig: WitnessRig, directories: readonly string[]): Promise<string> {
  const chains = (await rig.disks()).map((disk) => disk.chain.map((image) => image.path));
  const [side, ...others] = [...new Set(chains.map((chain) => dirname(chain[0] ?? "")))];
  assert.ok(side !== undefined && others.length === 0, `disks on several sides: ${JSON.stringify(chains)}`);
  const used = new Set(chains.flat());
  for (const directory of directories) {
    const files = (await readdir(directory)).map((name) => `${directory}/${name}`);
    assert.deepEqual(
      files.filter((file) => !used.has(file)),
      [],
      `left over beside ${JSON.stringify(chains)}`,
    );
  }
  return side;
}

export async function assertQuiet(rig: WitnessRig): Promise<void> {
  await rig.closeService();
  const domains = await readdir(rig.path("run", "domains"));
  const monitor = await connectMonitor(rig.path("run", "domains", domains[0] ?? "", "qmp.sock"));
  try {
    assert.deepEqual(await monitor.execute("query-jobs"), []);
    const nodes = await monitor.execute("query-named-block-nodes", { flat: true });
    const depth = 2; // a format node and its file
    assert.equal(nodes.length, 3 * depth, JSON.stringify(nodes.map((node) => node["node-name"])));
  } finally {
    await monitor.close();
  }
  await rig.open();
}

export async function recoverOperation(rig: WitnessRig): Promise<OperationView> {
  const [newest] = await rig.facade.listOperations({});
  assert.ok(newest, "the operation is in the journal");
  const final = await rig.finish(newest);
  assert.notEqual(final.state, "running");
  return final;
}
