/** The operations of the campaign: what has to be there first, what is asked for, and what it holds to be true afterwards. */
import type { OperationView } from "../src/api-types/index.ts";
import { domainName, type Machine } from "./machine.ts";
import type { Random } from "./random.ts";

/** What a run knows of its domain beyond the disks themselves. */
export interface Known {
  readonly machine: Machine;
  readonly choice: Random;
  /** Name to the last record when it was taken; nothing was written meanwhile. */
  readonly snapshots: Map<string, number>;
  /** Snapshots that the operation itself takes, while all is written on. */
  readonly taking: Set<string>;
  /** What a revert goes back to. */
  revertTo?: string;
  /** Snapshots that may be gone afterwards. */
  readonly deleting: Set<string>;
}

export interface Operation {
  /** Named points that it usually comes to. */
  readonly points: number;
  /** So many of them are before its decision: it is undone when it fails there. */
  readonly undoable: number;
  readonly usualMs: number;
  readonly usesQemuImg?: true;
  /** How many directories hold the disks afterwards is checked. */
  readonly moves?: true;
  /** When it succeeds, all that it was on stays. */
  readonly keepsSource?: true;
  readonly prepare?: (known: Known) => Promise<void>;
  /** Asks for it and waits for its end. The last of the views is the operation's end. */
  readonly act: (known: Known) => Promise<OperationView | undefined>;
  /** Files of the user that it leaves behind besides those that it found: the layers that were there before. */
  readonly leavesLayers?: true;
}

async function snapshotQuietly(known: Known, name: string, kind: "disk" | "internal" | "memory"): Promise<void> {
  const { machine } = known;
  const { writer } = machine;
  await writer.awaitMore(machine.disks, AbortSignal.timeout(20_000));
  await writer.pause();
  known.snapshots.set(name, writer.issued);
  const memory = { memspec: machine.path("source", `${name}.mem`) };
  const how = kind === "disk" ? { diskOnly: true } : kind === "memory" ? memory : {};
  await machine.daemon.call("createSnapshot", domainName, { name, ...how });
  writer.resume();
  await writer.awaitMore(machine.disks, AbortSignal.timeout(20_000));
}

const takeThree = async (known: Known): Promise<void> => {
  for (const name of ["one", "two", "three"]) await snapshotQuietly(known, name, "disk");
};

const stackLayers = async ({ machine }: Known): Promise<void> => {
  for (const name of ["lower", "upper"]) {
    await machine.daemon.call("createSnapshot", domainName, { name, diskOnly: true, noMetadata: true });
    await machine.writer.awaitMore(machine.disks, AbortSignal.timeout(20_000));
  }
};

const takeSometimes = async (known: Known): Promise<void> => {
  if (known.choice.chance(0.3)) await snapshotQuietly(known, "before", "disk");
};

function migrate(request: { verify?: true; flatten?: true; keepSource?: true }): Operation["act"] {
  return async ({ machine: { daemon, path } }) => {
    const to = path("target");
    return await daemon.finish(await daemon.call("migrateStorage", domainName, { to, ...request }));
  };
}

function mirrorThen(how: "pivot" | "abort"): Operation["act"] {
  return async ({ machine, taking }) => {
    const { daemon, disks } = machine;
    taking.add("mirrored");
    const diskspecs = Array.from({ length: disks }, (_, index) => {
      const target = `vd${String.fromCharCode(97 + index)}`;
      return `${target},snapshot=external,mirror=${machine.path("target", `${target}.s`)}`;
    });
    await daemon.call("createSnapshot", domainName, { name: "mirrored", diskOnly: true, diskspecs });
    const operation = await daemon.call("endMirrors", domainName, "mirrored", how);
    return operation === undefined ? undefined : await daemon.finish(operation);
  };
}

function take(kind: "disk" | "internal" | "memory"): Operation["act"] {
  return async ({ machine, taking, choice }) => {
    taking.add("taken");
    const memory = { memspec: machine.path("source", "taken.mem"), ...(choice.chance(0.5) ? { live: true } : {}) };
    const how = kind === "disk" ? { diskOnly: true } : kind === "memory" ? memory : {};
    return (await machine.daemon.call("createSnapshot", domainName, { name: "taken", ...how })).operation;
  };
}

function revert(kinds: readonly ["disk" | "internal" | "memory", ...("disk" | "internal" | "memory")[]]) {
  return {
    prepare: async (known: Known): Promise<void> => {
      for (const name of ["one", "two"]) await snapshotQuietly(known, name, known.choice.pick(kinds));
    },
    act: async (known: Known): Promise<OperationView> => {
      const name = known.choice.pick(["one", "two"]);
      known.revertTo = name;
      return await known.machine.daemon.call("revertSnapshot", domainName, name, { running: true });
    },
  };
}

const table = {
  "migrate-storage": {
    points: 26,
    undoable: 17,
    usualMs: 500,
    usesQemuImg: true,
    moves: true,
    prepare: takeSometimes,
    act: migrate({}),
  },
  "migrate-storage --verify": {
    ...{ points: 28, undoable: 19, usualMs: 550, usesQemuImg: true, moves: true },
    prepare: takeSometimes,
    act: migrate({ verify: true }),
  },
  "migrate-storage --flatten": {
    points: 26,
    undoable: 17,
    usualMs: 500,
    usesQemuImg: true,
    moves: true,
    act: migrate({ flatten: true }),
  },
  "migrate-storage --keep-source": {
    ...{ points: 24, undoable: 17, usualMs: 500, usesQemuImg: true, moves: true, keepsSource: true },
    prepare: takeSometimes,
    act: migrate({ keepSource: true }),
  },
  "snapshot-mirror, pivot": {
    points: 18,
    undoable: 12,
    usualMs: 500,
    usesQemuImg: true,
    moves: true,
    act: mirrorThen("pivot"),
  },
  "snapshot-mirror, abort": {
    points: 14,
    undoable: 10,
    usualMs: 400,
    usesQemuImg: true,
    moves: true,
    act: mirrorThen("abort"),
  },
  "clone-storage": {
    ...{ points: 16, undoable: 12, usualMs: 500, usesQemuImg: true, moves: true },
    act: async ({ machine: { daemon, path } }) =>
      await daemon.finish(await daemon.call("cloneStorage", domainName, { to: path("target") })),
  },
  "snapshot-create, disks": { points: 6, undoable: 6, usualMs: 80, act: take("disk") },
  "snapshot-create, internal": { points: 4, undoable: 2, usualMs: 150, act: take("internal") },
  "snapshot-create, memory": { points: 10, undoable: 9, usualMs: 300, act: take("memory") },
  "snapshot-delete": {
    ...{ points: 12, undoable: 1, usualMs: 300 },
    prepare: takeThree,
    act: async ({ machine: { daemon }, choice, snapshots, deleting }) => {
      const name = choice.pick(["one", "two", "three"]);
      const children = choice.chance(0.2);
      const names = [...snapshots.keys()];
      for (const gone of children ? names.slice(names.indexOf(name)) : [name]) deleting.add(gone);
      return (await daemon.call("deleteSnapshot", domainName, name, { children })).operation;
    },
  },
  "snapshot-revert, disks": { points: 16, undoable: 3, usualMs: 400, ...revert(["disk"]) },
  "snapshot-revert, memory": {
    points: 10,
    undoable: 1,
    usualMs: 600,
    ...revert(["internal", "memory"]),
  },
  "blockcopy --pivot": {
    ...{ points: 10, undoable: 2, usualMs: 200, leavesLayers: true },
    act: async ({ machine: { daemon, path } }) => {
      await daemon.finish(await daemon.call("blockCopy", domainName, "vda", { dest: path("target", "vda.copy") }));
      return await daemon.finish(await daemon.call("endBlockJob", domainName, "vda", "pivot"));
    },
  },
  blockcommit: {
    ...{ points: 6, undoable: 1, usualMs: 200, leavesLayers: true },
    prepare: stackLayers,
    act: async ({ machine: { daemon }, choice }) => {
      const shallow = choice.chance(0.5);
      return await daemon.finish(await daemon.call("blockCommit", domainName, "vda", { shallow }));
    },
  },
  blockpull: {
    ...{ points: 4, undoable: 1, usualMs: 200, leavesLayers: true },
    prepare: stackLayers,
    act: async ({ machine: { daemon } }) => await daemon.finish(await daemon.call("blockPull", domainName, "vda", {})),
  },
} as const satisfies Record<string, Operation>;

export type OperationName = keyof typeof table;
export const operations: Readonly<Record<OperationName, Operation>> = table;
const [firstName = "migrate-storage", ...otherNames] = Object.keys(table) as OperationName[];
export const operationNames: readonly [OperationName, ...OperationName[]] = [firstName, ...otherNames];
