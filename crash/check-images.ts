/** What must hold of images, snapshots and files once nothing runs any more. */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { errorText } from "../src/base/errors.ts";
import { stateFileName } from "../src/daemon/compose.ts";
import { readChain } from "../src/image/chain.ts";
import { checkImage } from "../src/image/check.ts";
import { openStore } from "../src/journal/store.ts";
import type { ImageRef } from "../src/model/image.ts";
import type { Snapshot } from "../src/model/snapshot.ts";
import { DomainRegistry } from "../src/service/domain-registry.ts";
import type { Blame } from "./failure.ts";
import { domainName, type Machine } from "./machine.ts";
import { readRecords } from "./records.ts";

/** What the run has seen, for the images to be held against. */
export interface Expected {
  /** Each record that has to be there; of a revert that succeeded see `reverted`. */
  readonly acknowledged: ReadonlySet<number>;
  readonly issued: number;
  /** The revert has succeeded: records after `to` and up to `asked` are gone, of those up to `ended` a first part may be gone. */
  readonly reverted?: { readonly to: number; readonly asked: number; readonly ended: number };
  /** Snapshots and their last record. */
  readonly snapshots: ReadonlyMap<string, number>;
  readonly mayBeGone: ReadonlySet<string>;
  /** Taken while records were written: between these two. */
  readonly taken: ReadonlyMap<string, { readonly asked: number; readonly ended: number }>;
  /** Where all active images are; absent: not checked. */
  readonly side?: string;
  /** Files that may be there though nobody names them. */
  readonly known: ReadonlySet<string>;
  /** The clones in this directory are finished. */
  readonly clones?: string;
}

interface Held {
  readonly active: readonly ImageRef[];
  readonly documents: readonly { readonly document: Snapshot; readonly deleting: boolean }[];
  readonly layers: readonly string[];
}

/** Resolves with the number of leaked clusters: what a QEMU that is killed leaves in qcow2 files, which is no fault. */
export async function checkAtRest(machine: Machine, expected: Expected, blame: Blame): Promise<{ leaks: number }> {
  const held = readState(machine);
  const named = new Set<string>(held.layers);
  const images = new Map<string, ImageRef>();
  const follow = async (image: ImageRef, what: string): Promise<void> => {
    try {
      for (const layer of await readChain(image, { disk: what })) {
        named.add(layer.path);
        images.set(layer.path, layer);
      }
    } catch (error) {
      blame("definition differs from the truth", `${what} cannot be opened: ${errorText(error)}`);
    }
  };
  for (const [disk, image] of held.active.entries()) await follow(image, `disk ${disk}`);
  for (const { document, deleting } of held.documents) {
    for (const { base, source } of document.disks) {
      if (source !== undefined) named.add(source.path);
      if (base !== undefined && !deleting) await follow(base, `snapshot ${document.name}`);
    }
    const memory = document.memory?.file;
    if (memory !== undefined) named.add(memory);
    if (memory !== undefined && !deleting && !existsSync(memory))
      blame("snapshots that changed", `${document.name} has lost its memory`);
  }
  let leaks = 0;
  for (const image of images.values()) {
    if (image.format !== "qcow2") continue;
    const found = await checkImage(image);
    leaks += found.leaks;
    if (found.corruptions + found.checkErrors > 0) {
      blame("damaged images", `${image.path}: ${found.corruptions} corruptions, ${found.checkErrors} errors`);
    }
  }
  await checkDisks(machine, held.active, expected, blame);
  await checkSnapshots(machine, held, expected, blame);
  if (expected.clones !== undefined) await checkClones(machine, expected.clones, named, blame);
  await checkFiles(machine, named, expected, blame);
  return { leaks };
}

function readState(machine: Machine): Held {
  const store = openStore(machine.path("state", stateFileName));
  try {
    const registry = new DomainRegistry(store);
    const entry = registry.get(domainName);
    const disks = entry.definition?.disks ?? [];
    return {
      active: disks.flatMap(({ source }) => (source === undefined ? [] : [source])),
      documents: [...registry.snapshots(entry)],
      layers: store.layers.list(entry.uuid).map(({ path }) => path),
    };
  } finally {
    store.close();
  }
}

/** The records of all disks together. */
async function readAll(
  machine: Machine,
  images: readonly { readonly path: string; readonly format: string }[],
  blame: Blame,
  tag?: string,
): Promise<ReadonlySet<number>> {
  const all = new Set<number>();
  for (const [disk, image] of images.entries()) {
    const options = {
      disk,
      disks: machine.disks,
      scratch: machine.path("scratch", "raw"),
      ...(tag === undefined ? {} : { tag }),
    };
    const { found, damaged } = await readRecords(image, options);
    if (damaged > 0) blame("damaged images", `${image.path}: ${damaged} blocks that nobody wrote`);
    for (const record of found) all.add(record);
  }
  return all;
}

async function checkDisks(
  machine: Machine,
  active: readonly ImageRef[],
  expected: Expected,
  blame: Blame,
): Promise<void> {
  const sides = new Set(active.map(({ path }) => dirname(path)));
  if (expected.side !== undefined && sides.size > 1)
    blame("disks split between sides", active.map(({ path }) => path).join(", "));
  else if (expected.side !== undefined && !sides.has(expected.side)) {
    blame(
      "definition differs from the truth",
      `the disks are in ${[...sides].join()}, the operation's answer says ${expected.side}`,
    );
  }
  const present = await readAll(machine, active, blame);
  const { reverted, acknowledged } = expected;
  const lost = new Set([...acknowledged].filter((record) => !present.has(record)));
  if (reverted !== undefined) {
    const back = [...present].filter((record) => record > reverted.to && record <= reverted.asked);
    if (back.length > 0) blame("disks split between sides", `reverted to ${reverted.to}, and it has ${brief(back)}`);
    const first = Math.min(...[...present].filter((record) => record > reverted.asked), reverted.ended + 1);
    for (const record of lost) if (record > reverted.to && record < first) lost.delete(record);
  }
  if (lost.size > 0) blame("acknowledged writes lost", `of ${expected.issued}: ${brief([...lost])}`);
  const unknown = [...present].filter((record) => record > expected.issued);
  if (unknown.length > 0) blame("damaged images", `records that were never written: ${brief(unknown)}`);
}

async function checkSnapshots(machine: Machine, { documents }: Held, expected: Expected, blame: Blame): Promise<void> {
  const names = new Set(documents.map(({ document }) => document.name));
  for (const name of expected.snapshots.keys()) {
    if (!names.has(name) && !expected.mayBeGone.has(name)) blame("snapshots that changed", `${name} is gone`);
  }
  for (const { document, deleting } of documents) {
    if (deleting) continue;
    const { name, disks } = document;
    const bases = disks.flatMap(({ base }) => (base === undefined ? [] : [base]));
    const tag = disks.some(({ snapshot }) => snapshot === "internal") ? name : undefined;
    const present = await readAll(machine, bases, blame, tag).catch((error: unknown) => {
      blame("snapshots that changed", `${name} cannot be read: ${errorText(error)}`);
      return undefined;
    });
    if (present === undefined) continue;
    const last = expected.snapshots.get(name);
    // A move that was interrupted by QEMU's end leaves the snapshot that it began with: its overlays are the truth.
    const taking = /^(migrate|clone)-/.test(name) ? "taken" : name;
    const bounds = last === undefined ? expected.taken.get(taking) : { asked: last, ended: last };
    if (bounds === undefined) blame("other", `nobody took snapshot ${name}`);
    else if (!isBeginning(present, bounds)) {
      blame(
        "snapshots that changed",
        `${name} holds ${brief([...present])}, and ${JSON.stringify(bounds)} was its time`,
      );
    }
  }
}

/** Records 1 to some n between the bounds, and no other. */
function isBeginning(present: ReadonlySet<number>, { asked, ended }: { asked: number; ended: number }): boolean {
  return present.size >= asked && present.size <= ended && [...present].every((record) => record <= present.size);
}

async function checkClones(machine: Machine, directory: string, named: Set<string>, blame: Blame): Promise<void> {
  const files = (await readdir(directory)).map((name) => join(directory, name));
  const tops = Array.from({ length: machine.disks }, (_, disk) => {
    const target = `vd${String.fromCharCode(97 + disk)}`;
    return files.find((path) => basename(path).startsWith(`${target}.`) && path.includes(".clone-"));
  });
  const images = tops.flatMap((path) => (path === undefined ? [] : [{ path, format: "qcow2" }]));
  if (images.length < machine.disks) blame("leftovers", `a clone without its images: ${files.join(", ")}`);
  else {
    const present = await readAll(machine, images, blame);
    if (![...present].every((record) => record <= present.size))
      blame("disks split between sides", `the clone holds ${brief([...present])}`);
  }
  for (const path of files) named.add(path);
}

async function checkFiles(
  machine: Machine,
  named: ReadonlySet<string>,
  { known }: Expected,
  blame: Blame,
): Promise<void> {
  for (const directory of [machine.path("source"), machine.path("target")]) {
    for (const name of await readdir(directory)) {
      const path = join(directory, name);
      if (!named.has(path) && !known.has(path)) blame("leftovers", `file ${path}`);
    }
  }
  for (const { command } of await machine.processes()) blame("leftovers", `process ${command}`);
  const usual = /^(qmp\.sock|qemu\.pid|qemu\.log|agent\.sock)$/;
  for (const uuid of await readdir(machine.path("run", "domains"))) {
    for (const name of await readdir(machine.path("run", "domains", uuid))) {
      if (!usual.test(name)) blame("leftovers", `run/domains/${uuid}/${name}`);
    }
  }
}

function brief(records: readonly number[]): string {
  const sorted = records.toSorted((a, b) => a - b);
  return sorted.length <= 12
    ? sorted.join(" ")
    : `${sorted.slice(0, 6).join(" ")} … ${sorted.slice(-6).join(" ")} (${sorted.length})`;
}
