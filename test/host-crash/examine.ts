/** What a host finds after a power failure: the state file, the images, and what recovery makes of them. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { OperationView } from "../../src/api-types/index.ts";
import { errorText } from "../../src/base/errors.ts";
import { compose, stateFileName } from "../../src/daemon/compose.ts";
import { readChain } from "../../src/image/chain.ts";
import { checkImage } from "../../src/image/check.ts";
import { extractInternal } from "../../src/image/internal-snapshots.ts";
import { openStore } from "../../src/journal/store.ts";
import type { ImageRef } from "../../src/model/image.ts";
import type { Snapshot } from "../../src/model/snapshot.ts";
import type { Facade } from "../../src/service/facade.ts";
import { checkImages, type WitnessVerdict } from "../../src/testing/witness/check-images.ts";
import { readSerialLog } from "../../src/testing/witness/serial-log.ts";
import { silentLogger } from "../live/witness-rig.ts";
import type { Act, Note } from "./actor.ts";
import { verbOf } from "./verbs.ts";

export interface Guest {
  readonly offsetBytes: number;
  readonly run: bigint;
  readonly slots: number;
}

export interface Findings {
  readonly point: string;
  /** What must not be; none: all is well. */
  readonly problems: readonly string[];
  /** Files that nothing names: no harm, but room. */
  readonly leftovers: readonly string[];
  /** Clusters, over all images. */
  readonly leaks: number;
  /** How the operation ended, in the journal. */
  readonly ended: string;
  /** Whoever asked had been told that it succeeded, and the journal says otherwise now. */
  readonly answerChanged: boolean;
}

type Acknowledged = ReadonlyMap<number, number>;

export async function examine(act: Act, guest: Guest): Promise<Findings> {
  const notes = readFileSync(act.notes, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Note);
  const held = new Map(
    notes.flatMap((note) => ("snapshot" in note ? [[note.snapshot, new Map(note.acknowledged)]] : [])),
  );
  const named = notes.flatMap((note) => ("point" in note ? [note.point] : []))[0];
  const problems: string[] = [];
  const attempt = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      problems.push(`${what}: ${errorText(error)}`);
      return undefined;
    }
  };
  // A guest that recovery started anew begins a new console.
  const { acknowledged } = await readSerialLog(act.serial);
  const before = held.get("") ?? new Map<number, number>();
  const told = new Map([...before].map(([disk, sequence]) => [disk, Math.max(sequence, acknowledged.get(disk) ?? 0)]));

  const step = await attempt("the state file", () => Promise.resolve(readStep(act)));
  const point = named ?? `any instant, ${step ?? "nothing"} in the journal`;
  const settled = await attempt("recovery", () => recover(act));
  if (settled === undefined) return { point, problems, leftovers: [], leaks: 0, ended: "?", answerChanged: false };
  const { ended, chains, snapshots, layers } = settled;
  problems.push(...settled.problems);
  const images = [...new Map(chains.flat().map((image) => [image.path, image])).values()];
  const lacking = images.filter(({ path }) => !existsSync(path) || statSync(path).size === 0);
  problems.push(...lacking.map(({ path }) => `${path} is missing or empty`));
  const shapes = new Set(chains.map((chain) => `${chain.length} layers in ${dirname(chain[0]?.path ?? "")}`));
  if (shapes.size !== 1) problems.push(`disks on several sides: ${JSON.stringify(chains)}`);

  const check = (paths: readonly string[], least: Acknowledged, format: "qcow2" | "raw" = "qcow2") =>
    checkImages({
      ...guest,
      images: paths.map((path, disk) => ({ disk, path, format })),
      pattern: true,
      acknowledged: least,
    });
  const active = chains.map((chain) => chain[0]?.path ?? "");
  const reverted = act.verb.startsWith("revert") && ended === "succeeded";
  await attempt("the disks", async () => {
    problems.push(...faultsOf("the disks", await check(active, reverted ? (held.get("s1") ?? before) : told)));
  });
  for (const snapshot of snapshots) {
    const what = `snapshot ${snapshot.name}`;
    await attempt(what, async () => {
      const bases = await basesOf(snapshot, act);
      problems.push(...faultsOf(what, await check(bases.paths, held.get(snapshot.name) ?? new Map(), bases.format)));
      if (bases.format === "qcow2") for (const path of bases.paths) images.push(...(await chainOf(path)));
    });
  }
  const kept = named === "the end" ? verbOf(act.verb).makes : undefined;
  for (const name of [...(verbOf(act.verb).keeps ?? []), ...(kept === undefined ? [] : [kept])]) {
    if (!snapshots.some((snapshot) => snapshot.name === name)) problems.push(`snapshot ${name} is gone`);
  }
  let leaks = 0;
  const checked = new Set<string>();
  for (const image of images) {
    if (checked.has(image.path)) continue;
    checked.add(image.path);
    const result = await attempt(image.path, () => checkImage(image));
    if (result === undefined) continue;
    leaks += result.leaks;
    if (result.corruptions + result.checkErrors > 0)
      problems.push(`${image.path} is damaged: ${JSON.stringify(result)}`);
  }
  const leftovers = await findLeftovers(act, new Set([...checked, ...layers]), ended, check, problems);
  await attempt("starting again", () => startAgain(act));
  const answerChanged = named === "the end" && ended !== "succeeded";
  return { point, problems, leftovers, leaks, ended, answerChanged };
}

/** Where the operation was by its last durable record. */
function readStep(act: Act): string {
  const store = openStore(join(act.stateDir, stateFileName));
  try {
    const row = store.operations.list<unknown>({ running: true })[0];
    const decision = row?.decision === undefined ? "" : ` (${row.decision})`;
    return row === undefined ? "no operation" : `${row.step}${decision}`;
  } finally {
    store.close();
  }
}

async function recover(act: Act) {
  const service = await compose(act, silentLogger);
  const { facade } = service;
  try {
    const [operation] = await facade.listOperations({});
    const final: OperationView | undefined =
      operation && (await facade.waitOperation(operation.id, AbortSignal.timeout(60_000)));
    const problems = (await facade.listOperations({ running: true })).map(({ kind }) => `${kind} has no answer`);
    await endGuest(facade);
    const chains = (await facade.domainDisks("witness")).map(({ chain }) =>
      chain.map(({ path }): ImageRef => ({ type: "file", path, format: "qcow2" })),
    );
    const { uuid } = await facade.getDomain("witness");
    const xml = await facade.domainXml("witness", { inactive: true });
    for (const [image] of chains) {
      if (image !== undefined && !xml.includes(`'${image.path}'`)) problems.push(`the XML does not name ${image.path}`);
    }
    const state = readState(act, uuid);
    const ended = final === undefined || !verbOf(act.verb).kinds.includes(final.kind) ? "not begun" : final.state;
    return { problems, chains, ended, ...state };
  } finally {
    await service.close();
  }
}

function readState(act: Act, uuid: string): { snapshots: Snapshot[]; layers: string[] } {
  const store = openStore(join(act.stateDir, stateFileName));
  try {
    const rows = store.snapshots.list<Snapshot, unknown>(uuid).filter(({ deleting }) => !deleting);
    return {
      snapshots: rows.map(({ document }) => document),
      layers: store.layers.list<ImageRef>(uuid).map(({ path }) => path),
    };
  } finally {
    store.close();
  }
}

async function endGuest(facade: Facade): Promise<void> {
  if ((await facade.getDomain("witness")).id !== null) await facade.destroyDomain("witness");
}

async function startAgain(act: Act): Promise<void> {
  const service = await compose(act, silentLogger);
  const { facade } = service;
  try {
    await facade.startDomain("witness");
    await endGuest(facade);
  } finally {
    await service.close();
  }
}

/** The images that show what the snapshot holds. */
async function basesOf(snapshot: Snapshot, act: Act): Promise<{ paths: string[]; format: "qcow2" | "raw" }> {
  const isInternal = snapshot.disks.some((disk) => disk.snapshot === "internal");
  const paths: string[] = [];
  for (const { target, base } of snapshot.disks) {
    if (base === undefined) throw new Error(`${target} of snapshot ${snapshot.name} has no image`);
    if (!isInternal) {
      paths.push(base.path);
      continue;
    }
    const to = { type: "file", path: join(dirname(act.notes), `extracted-${target}`), format: "raw" } as const;
    await extractInternal({ disk: target, chain: await readChain(base, { disk: target }), tag: snapshot.name, to });
    paths.push(to.path);
  }
  return { paths, format: isInternal ? "raw" : "qcow2" };
}

async function chainOf(path: string): Promise<readonly ImageRef[]> {
  return await readChain({ type: "file", path, format: "qcow2" }, { disk: "vda" });
}

function faultsOf(what: string, verdict: WitnessVerdict): string[] {
  const { missing, corrupt, patternDamaged, instantConsistent, lastSequence } = verdict;
  if (missing + corrupt + patternDamaged === 0 && instantConsistent) return [];
  const faults = { missing, corrupt, patternDamaged, instantConsistent, lastSequence: [...lastSequence] };
  return [`${what}: ${JSON.stringify(faults)}`];
}

/** A finished clone is none; it has to be whole. */
async function findLeftovers(
  act: Act,
  known: ReadonlySet<string>,
  ended: string,
  check: (paths: readonly string[], least: Acknowledged) => Promise<WitnessVerdict>,
  problems: string[],
): Promise<string[]> {
  const files = [act.source, act.target].flatMap((directory) =>
    readdirSync(directory).map((name) => join(directory, name)),
  );
  // A snapshot's mirrors leave their source to the user when the guest has moved to them.
  const isLeft = (path: string): boolean =>
    basename(path) === "lost+found" || (act.verb === "snapshot-pivot" && path.endsWith(".s1") && ended === "succeeded");
  const unknown = files.filter((path) => !known.has(path) && !isLeft(path));
  if (act.verb !== "clone" || ended !== "succeeded") return unknown;
  const clones = act.disks.map(
    (disk) => unknown.find((path) => path.startsWith(join(act.target, `${disk}.qcow2.clone-`))) ?? "no clone",
  );
  problems.push(...faultsOf("the clone", await check(clones, new Map())));
  const whole = new Set((await Promise.all(clones.map(chainOf))).flat().map(({ path }) => path));
  return unknown.filter((path) => !whole.has(path));
}
