/**
 * The daemon is killed at every named point of the engine, alone and together with QEMU, and started again. Afterwards all disks are
 * on one side, the operation has an answer, nothing is left over, and every write that the guest was told is safe is there.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, rm, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import type { OperationView } from "../../src/api-types/index.ts";
import { planMove } from "../../src/engine/plans/plan-move.ts";
import { stepByName } from "../../src/engine/steps/index.ts";
import type { StepName } from "../../src/engine/steps/storage-plan.ts";
import { connectMonitor } from "../../src/qemu/monitor.ts";
import { assertNothingLost, WitnessRig } from "../live/witness-rig.ts";
import type { Act } from "./actor.ts";

const actorPath = fileURLToPath(new URL("actor.ts", import.meta.url));

interface Case {
  readonly verb: "migrate" | "clone";
  readonly dieAt: string;
  readonly failAt?: string;
}

/** The engine's own list of points: one before and one after each step of the plan, one for each step that is undone. */
function casesOf(verb: "migrate" | "clone"): Case[] {
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

async function runActor(act: Act): Promise<string | number | null> {
  const child = spawn(process.execPath, [actorPath, JSON.stringify(act)], { stdio: ["ignore", "inherit", "inherit"] });
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  return signal ?? code;
}

/** No disk alone: all are below one directory, and nothing of the operation is left in the others. */
async function assertOneSide(rig: WitnessRig, directories: readonly string[]): Promise<string> {
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

async function assertQuiet(rig: WitnessRig): Promise<void> {
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

async function recoverOperation(rig: WitnessRig): Promise<OperationView> {
  const [newest] = await rig.facade.listOperations({});
  assert.ok(newest, "the operation is in the journal");
  const final = await rig.finish(newest);
  assert.notEqual(final.state, "running");
  return final;
}

describe("the daemon dies alone, QEMU lives", () => {
  let rig: WitnessRig;
  before(async () => {
    rig = await WitnessRig.create({ disks: 3 });
    await rig.open();
    await rig.boot();
  });
  after(() => rig.close());

  let side = "source";
  for (const [index, { verb, dieAt, failAt }] of [...casesOf("migrate"), ...casesOf("clone")].entries()) {
    test(`${verb} ${dieAt}`, async () => {
      const target = `side-${index}`;
      await mkdir(rig.path(target));
      await rig.closeService();
      const act = {
        ...rig.dirs,
        verb,
        to: rig.path(target),
        dieAt,
        withQemu: false,
        ...(failAt === undefined ? {} : { failAt }),
      };
      assert.equal(await runActor(act), "SIGKILL", "the point was reached");
      await rig.open();
      const final = await recoverOperation(rig);
      await rig.awaitWrites(10);
      if (verb === "clone") {
        // A finished clone is no leftover; it is checked for being whole, then dropped.
        if (final.state === "succeeded") {
          const names = await readdir(rig.path(target));
          const copies = ["vda", "vdb", "vdc"].map(
            (disk) => names.find((name) => name.startsWith(`${disk}.qcow2.clone-`)) ?? "none",
          );
          assertNothingLost(
            await rig.check(
              copies.map((name) => rig.path(target, name)),
              { acknowledged: false },
            ),
          );
          for (const name of names) await unlink(rig.path(target, name));
        }
        assert.equal(await assertOneSide(rig, [rig.path(side), rig.path(target)]), rig.path(side));
      } else {
        const now = await assertOneSide(rig, [rig.path(side), rig.path(target)]);
        assert.equal(now, rig.path(final.state === "succeeded" ? target : side), JSON.stringify(final));
        side = now.slice(rig.path("").length);
      }
      await assertQuiet(rig);
    });
  }

  test("and at the end every acknowledged write is there", async () => {
    assertNothingLost(await rig.stopAndCheck());
  });
});

describe("the daemon and QEMU die together", () => {
  for (const { verb, dieAt, failAt } of [...casesOf("migrate"), ...casesOf("clone")]) {
    test(`${verb} ${dieAt}`, async () => {
      const rig = await WitnessRig.create({ disks: 3 });
      try {
        await rig.open();
        await rig.boot();
        await rig.closeService();
        const to = rig.path("target");
        const act = { ...rig.dirs, verb, to, dieAt, withQemu: true, ...(failAt === undefined ? {} : { failAt }) };
        assert.equal(await runActor(act), "SIGKILL", "the point was reached");
        await rig.open();
        const final = await recoverOperation(rig);
        assert.equal((await rig.facade.getDomain("witness")).state, "shut off");
        const chains = (await rig.disks()).map((disk) => disk.chain.map((image) => image.path));
        assert.equal(new Set(chains.map((chain) => dirname(chain[0] ?? ""))).size, 1, JSON.stringify(chains));
        if (verb === "clone" && final.state === "succeeded") await rm(to, { recursive: true }).then(() => mkdir(to));
        await assertOneSide(rig, [rig.path("source"), to]);
        assertNothingLost(await rig.stopAndCheck());
      } finally {
        await rig.close();
      }
    });
  }
});
