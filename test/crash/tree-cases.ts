/** Carries a scenario out with every death that it can die. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TreeAct, TreeRequest } from "./tree-actor.ts";
import { awaitEnd, checkImages, checkMachine, type Seen } from "./tree-checks.ts";
import { outcomeOf, type Scenario } from "./tree-scenarios.ts";
import { domain, TreeStage, type Holding } from "./tree-stage.ts";

const actorPath = fileURLToPath(new URL("tree-actor.ts", import.meta.url));

/** A point that the operation comes by. */
export interface Death {
  readonly point: string;
  /** Where the operation is made to fail, so that it is undone. */
  readonly failAt?: string;
  /** Behind the decision: the operation has to succeed. */
  readonly decided: boolean;
  /** A QEMU that dies here is started again where the operation ends with one: its guest cannot have run yet. */
  readonly restarted: boolean;
}

/** What is there when the operation was carried out, or undone, and nobody died. */
interface Reference {
  readonly done: Seen;
  readonly undone: Seen;
}

export class TreeCase {
  readonly scenario: Scenario;
  readonly stage: TreeStage;
  readonly request: TreeRequest;
  /** In the order in which they come, those of undoing last. */
  readonly deaths: readonly Death[];
  readonly #reference: Reference;

  private constructor(scenario: Scenario, stage: TreeStage, deaths: readonly Death[], reference: Reference) {
    this.scenario = scenario;
    this.stage = stage;
    this.request = scenario.request(stage);
    this.deaths = deaths;
    this.#reference = reference;
  }

  /** Asks the engine for its points: by an operation that succeeds, and by one that fails at the last moment. */
  static async create(scenario: Scenario): Promise<TreeCase> {
    const stage = await TreeStage.create(scenario.disks, scenario.prepare);
    try {
      const request = scenario.request(stage);
      const forward = await rehearse(scenario, stage, request);
      const decision = decisionOf(request, forward.points);
      const failAt = forward.points[decision] ?? "";
      const back = await rehearse(scenario, stage, request, failAt);
      const undone = back.points.filter((point) => point.startsWith("undo"));
      const started = forward.points.findLastIndex((point) => /^after (start-machine|load-internal) /.test(point));
      const deaths = [
        ...forward.points.map((point, index) => ({
          point,
          decided: index > decision,
          restarted: index > decision && index <= started,
        })),
        ...[...undone.map((point) => ({ point, failAt })), ...(scenario.undoing ?? [])].map((undoing) => ({
          ...undoing,
          decided: false,
          restarted: false,
        })),
      ];
      return new TreeCase(scenario, stage, deaths, { done: forward.seen, undone: back.seen });
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  /** Dies there, recovers, and checks everything. */
  async die(
    { point, failAt, decided, restarted }: Death,
    options: Pick<TreeAct, "withQemu" | "slowly">,
  ): Promise<void> {
    const { stage, scenario, request } = this;
    stage.restore();
    const act = { ...options, dieAt: point, ...(failAt === undefined ? {} : { failAt }) };
    const { end } = await runActor({ ...stage.dirs, ...act, start: scenario.runs, request });
    // One that dies some time later may have come to its end.
    if (options.slowly === undefined) assert.equal(end, "SIGKILL", `${point} was not reached`);
    const isQemuDead = options.withQemu && end === "SIGKILL";
    await stage.open();
    try {
      const { state, error } = await awaitEnd(stage);
      const told = `${state}: ${error?.message ?? ""}`;
      assert.equal(state, decided ? "succeeded" : "failed", told);
      const hasIt = request.verb === "create" && (await hasSnapshot(stage, request.body.name));
      // Of a snapshot whose QEMU died it is not known whether it was taken: it may stay.
      const isDone = decided || (hasIt && isQemuDead);
      const before = scenario.runs && !isQemuDead ? "running" : "shut off";
      const after = isQemuDead && !restarted ? "shut off" : (scenario.stateAfter ?? before);
      const holding = isDone ? outcomeOf(request, stage.holding) : stage.holding;
      try {
        const seen = await this.#look(holding, isDone ? after : before);
        assert.deepEqual(seen, isDone ? this.#reference.done : this.#reference.undone);
      } catch (error) {
        throw new Error(`the operation ${told}`, { cause: error });
      }
    } finally {
      await stage.rest();
    }
  }

  /** A deletion that fails there is asked for again, while the domain runs on or when it has been stopped, and comes to its end. */
  async failAndAskAgain(failAt: string, { stopped }: { stopped: boolean }): Promise<void> {
    const { stage, scenario, request } = this;
    assert.ok(request.verb === "delete");
    const outcome = outcomeOf(request, stage.holding);
    const begun = [...stage.holding.snapshots.keys()].filter((name) => !outcome.snapshots.has(name));
    stage.restore();
    const act = { ...stage.dirs, failAt, start: scenario.runs, request, withQemu: false };
    assert.equal((await runActor(act)).end, 0);
    await stage.open();
    try {
      assert.equal((await awaitEnd(stage)).state, "failed");
      let holding = outcome;
      if (stopped) {
        holding = await checkMachine(stage, scenario.runs ? "running" : "shut off", holding);
        await stage.rest();
        await checkImages(stage, holding, begun);
        await stage.open();
      }
      await stage.facade.deleteSnapshot(domain, request.snapshot, request.body);
      const state = scenario.runs && !stopped ? "running" : "shut off";
      const { files, current } = await this.#look(holding, state);
      // What qmirror made is recorded in one way or another.
      const { recorded: _recorded, ...expected } = this.#reference.done;
      assert.deepEqual({ files, current }, expected);
    } finally {
      await stage.rest();
    }
  }

  async #look(holding: Holding, state: string): Promise<Seen> {
    const now = await checkMachine(this.stage, state, holding);
    await this.stage.rest();
    return await checkImages(this.stage, now);
  }

  async close(): Promise<void> {
    await this.stage.close();
  }
}

async function hasSnapshot(stage: TreeStage, name: string): Promise<boolean> {
  return (await stage.facade.listSnapshots(domain)).some((snapshot) => snapshot.name === name);
}

/** Index of the last point where the operation can still fail and be undone. */
function decisionOf(request: TreeRequest, points: readonly string[]): number {
  const decision = points.indexOf("before establish #1");
  assert.ok(decision >= 0 || request.verb === "create", points.join("\n"));
  return decision >= 0 ? decision : points.length - 1;
}

async function rehearse(
  scenario: Scenario,
  stage: TreeStage,
  request: TreeRequest,
  failAt?: string,
): Promise<{ points: readonly string[]; seen: Seen }> {
  stage.restore();
  const act = { ...stage.dirs, start: scenario.runs, request, withQemu: false };
  const { end, points } = await runActor({ ...act, ...(failAt === undefined ? {} : { failAt }) });
  assert.equal(end, 0);
  await stage.open();
  const { state } = await awaitEnd(stage);
  assert.equal(state, failAt === undefined ? "succeeded" : "failed");
  const holding: Holding = failAt === undefined ? outcomeOf(request, stage.holding) : stage.holding;
  const before = scenario.runs ? "running" : "shut off";
  const now = await checkMachine(stage, failAt === undefined ? (scenario.stateAfter ?? before) : before, holding);
  await stage.rest();
  return { points, seen: await checkImages(stage, now) };
}

export async function runActor(act: TreeAct): Promise<{ end: string | number | null; points: readonly string[] }> {
  const child = spawn(process.execPath, [actorPath, JSON.stringify(act)], {
    stdio: ["ignore", "pipe", "inherit"],
    // Some hundred of them are started.
    env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), "qmirror-compile-cache") },
  });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { end: signal ?? code, points: said.split("\n").filter((line) => line !== "") };
}
