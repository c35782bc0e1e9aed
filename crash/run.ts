/** One run: a domain that is written to, an operation, a death, recovery, and what must hold then. */
import { readdir } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { OperationView } from "../src/api-types/index.ts";
import { errorText, isQmError } from "../src/base/errors.ts";
import { checkAtRest, type Expected } from "./check-images.ts";
import { checkLive } from "./check-live.ts";
import { DaemonDied } from "./daemon-handle.ts";
import type { Blame, Failure } from "./failure.ts";
import { domainName, Machine } from "./machine.ts";
import { operations, type Known } from "./operations.ts";
import type { Scenario } from "./scenario.ts";
import { prepareStrike } from "./strike.ts";

export interface RunResult {
  readonly run: number;
  readonly operation: string;
  readonly disks: readonly string[];
  readonly victim: string;
  /** The named point of the engine, or when else. */
  readonly point: string;
  /** How the operation ended: `not begun` where the journal knows nothing of it. */
  readonly answer: string;
  readonly acknowledged: number;
  readonly leaks: number;
  readonly tookMs: number;
  readonly failures: readonly Failure[];
}

/** Never rejects: what goes wrong is a failure of the run. Nothing of it is left when it resolves. */
export async function carryOut(scenario: Scenario): Promise<RunResult> {
  const began = performance.now();
  const failures: Failure[] = [];
  const blame: Blame = (kind, what) => void failures.push({ kind, what });
  let seen = { point: "none", answer: "not begun", acknowledged: 0, leaks: 0 };
  let machine: Machine | undefined;
  try {
    machine = await Machine.create(scenario.layouts);
    seen = await provoke(machine, scenario, blame);
  } catch (error) {
    blame("other", error instanceof Error ? (error.stack ?? error.message) : errorText(error));
  }
  await machine?.remove();
  const { run, operation, layouts: disks, victim } = scenario;
  return { run, operation, disks, victim, ...seen, tookMs: Math.round(performance.now() - began), failures };
}

async function provoke(machine: Machine, scenario: Scenario, blame: Blame) {
  const operation = operations[scenario.operation];
  const { writer } = machine;
  const given = await listFiles(machine);
  const known: Known = {
    machine,
    choice: scenario.choice,
    snapshots: new Map(),
    taking: new Set(),
    deleting: new Set(),
  };
  await operation.prepare?.(known);
  const found = operation.leavesLayers === true ? await listFiles(machine) : given;
  const earlier = new Set((await machine.daemon.call("listOperations", {})).map(({ id }) => id));

  const strike = await prepareStrike(machine, scenario);
  const asked = writer.acknowledged.size;
  let refusal: unknown;
  const acting = operation.act(known).catch((error: unknown) => (refusal = error));
  const point = await strike(acting);
  await acting;
  if (refusal !== undefined && !(refusal instanceof DaemonDied) && !isQmError(refusal)) throw refusal;

  if (machine.daemon.isDead) await restart(machine, scenario);
  await awaitAnswers(machine, blame);
  await awaitState(machine, blame);
  const ended = writer.issued;
  await endWhatWaits(machine, scenario.ending, blame);
  const kept = operation.keepsSource === true ? await listFiles(machine) : [];
  const mine = (await machine.daemon.call("listOperations", {})).filter(({ id }) => !earlier.has(id)).toReversed();

  const { id } = await machine.daemon.call("getDomain", domainName);
  if (id === null && scenario.victim !== "qemu" && scenario.victim !== "daemon+qemu") {
    blame("other", `nobody killed QEMU, and it has ended: ${await machine.readQemuLog()}`);
  }
  if (id === null) {
    await machine.daemon.call("startDomain", domainName).catch((error: unknown) => {
      blame("other", `the domain does not start any more: ${errorText(error)}`);
    });
  }
  await checkLive(machine, blame);
  await machine.daemon.call("destroyDomain", domainName).catch((error: unknown) => blame("other", errorText(error)));
  await writer.stop();
  await machine.daemon.close();
  const expected = expect(known, mine, { asked, ended, given: found, kept, moves: operation.moves === true });
  const { leaks } = await checkAtRest(machine, expected, blame);
  const answer =
    mine.length > 0 ? mine.map(tellAnswer).join(", ") : refusal === undefined ? "not begun" : errorText(refusal);
  return { point, answer, acknowledged: writer.acknowledged.size, leaks };
}

function tellAnswer({ kind, state, error }: OperationView): string {
  return `${kind} ${state}${error === undefined ? "" : ` (${error.code}: ${error.message})`}`;
}

async function restart(machine: Machine, { againAfterMs }: Scenario): Promise<void> {
  await machine.daemon.exited;
  if (againAfterMs !== undefined) {
    await machine
      .startDaemon((daemon) => setTimeout(() => void daemon.kill(), againAfterMs).unref())
      .catch((error: unknown) => {
        if (!(error instanceof DaemonDied)) throw error;
      });
    await machine.daemon.exited;
  }
  await machine.startDaemon();
}

/** Every operation comes to an end, in bounded time. */
async function awaitAnswers({ daemon }: Machine, blame: Blame): Promise<void> {
  for (const operation of await daemon.call("listOperations", { running: true })) {
    await daemon.finish(operation).catch((error: unknown) => {
      blame("no final answer", `${operation.kind} in ${operation.step}: ${errorText(error)}`);
    });
  }
}

/** qmirror notices by itself that QEMU has ended; it is given five seconds. */
async function awaitState(machine: Machine, blame: Blame): Promise<void> {
  const deadline = AbortSignal.timeout(5000);
  for (;;) {
    const { id, operation } = await machine.daemon.call("getDomain", domainName);
    const lives = (await machine.processes()).some(({ command }) => command.startsWith("qemu-system"));
    if (lives === (id !== null) && operation === undefined) return;
    if (deadline.aborted) {
      blame(
        "definition differs from the truth",
        `QEMU ${lives ? "lives" : "is dead"}, the domain's id is ${id}, operation ${operation}`,
      );
      return;
    }
    // Nothing tells of the end of a process that is not a child of this one.
    await delay(20);
  }
}

/** Mirrors and copies wait for their user: the run ends them as one. */
async function endWhatWaits(machine: Machine, ending: "pivot" | "abort", blame: Blame): Promise<void> {
  const { daemon } = machine;
  const { mirroredSnapshot } = await daemon.call("getDomain", domainName);
  const end = async (how: "pivot" | "abort"): Promise<void> => {
    if (mirroredSnapshot !== undefined) {
      const operation = await daemon.call("endMirrors", domainName, mirroredSnapshot, how);
      if (operation !== undefined) await daemon.finish(operation);
    } else if ((await daemon.call("getDomain", domainName)).id !== null) {
      if ((await daemon.call("blockJob", domainName, "vda")) === undefined) return;
      await daemon.finish(await daemon.call("endBlockJob", domainName, "vda", how));
    }
  };
  try {
    // Mirrors that have broken cannot be pivoted to.
    await end(ending).catch(async () => await end("abort"));
  } catch (error) {
    blame("other", `what waits cannot be ended: ${errorText(error)}`);
  }
}

function expect(
  { machine, snapshots, taking, deleting, revertTo }: Known,
  mine: readonly OperationView[],
  {
    asked,
    ended,
    given,
    kept,
    moves,
  }: { asked: number; ended: number; given: readonly string[]; kept: readonly string[]; moves: boolean },
): Expected {
  const { writer, path } = machine;
  const succeeded = (kind: OperationView["kind"]): boolean =>
    mine.some((operation) => operation.kind === kind && operation.state === "succeeded");
  const to = revertTo === undefined || !succeeded("snapshot-revert") ? undefined : snapshots.get(revertTo);
  // A pivot that was asked for by itself leaves the source as it is.
  const left = succeeded("pivot") ? given.map((file) => file.replace(/\.[^./]*$/, ".mirrored")) : [];
  const copied = succeeded("block-copy") ? [path("target", "vda.copy")] : [];
  return {
    acknowledged: writer.acknowledged,
    issued: writer.issued,
    ...(to === undefined ? {} : { reverted: { to, asked, ended } }),
    snapshots,
    mayBeGone: deleting,
    taken: new Map([...taking, ...(moves ? ["taken"] : [])].map((name) => [name, { asked, ended }])),
    ...(moves ? { side: path(succeeded("migrate-storage") || succeeded("pivot") ? "target" : "source") } : {}),
    known: new Set([...given, ...left, ...copied, ...(succeeded("migrate-storage") ? kept : [])]),
    ...(succeeded("clone-storage") ? { clones: path("target") } : {}),
  };
}

async function listFiles({ path }: Machine): Promise<string[]> {
  return (await readdir(path("source"))).map((name) => path("source", name));
}
