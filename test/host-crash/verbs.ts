/** What is under way when the power fails. */
import assert from "node:assert/strict";
import type { OperationKind, OperationView } from "../../src/api-types/index.ts";
import type { Facade } from "../../src/service/facade.ts";

export interface Stage {
  readonly facade: Facade;
  /** Exists, on the file system that crashes. */
  readonly target: string;
  readonly disks: readonly string[];
  awaitWrites(count: number): Promise<void>;
  /** Notes what the guest was told is safe now: a snapshot of this name that is taken afterwards has to hold it. */
  note(snapshot: string): Promise<void>;
}

export interface Verb {
  /** Done before anything can fail. */
  prepare?(stage: Stage): Promise<void>;
  act(stage: Stage): Promise<void>;
  readonly kinds: readonly OperationKind[];
  /** Snapshots that `prepare` takes and that remain. */
  readonly keeps?: readonly string[];
  /** The snapshot that is there once `act` has ended. */
  readonly makes?: string;
  /** Named points of the engine that `act` passes; roughly, one that is not reached is the end of the operation. */
  readonly points: number;
  /** Roughly how long `act` takes. */
  readonly lastsMs: number;
}

const name = "witness";

async function takeDiskOnly(stage: Stage, snapshot: string): Promise<void> {
  await stage.note(snapshot);
  await stage.facade.createSnapshot(name, { name: snapshot, diskOnly: true });
  await stage.awaitWrites(20);
}

async function finish(stage: Stage, operation: OperationView): Promise<void> {
  const { state, error } = await stage.facade.waitOperation(operation.id, AbortSignal.timeout(60_000));
  assert.equal(state, "succeeded", JSON.stringify(error));
}

const takeTwo = async (stage: Stage): Promise<void> => {
  await takeDiskOnly(stage, "s1");
  await takeDiskOnly(stage, "s2");
};

export const verbs = {
  migrate: {
    kinds: ["migrate-storage"],
    points: 28,
    lastsMs: 1500,
    act: async (stage) => finish(stage, await stage.facade.migrateStorage(name, { to: stage.target })),
  },
  "migrate-flat": {
    kinds: ["migrate-storage"],
    points: 24,
    lastsMs: 1500,
    prepare: (stage) => takeDiskOnly(stage, "s1"),
    act: async (stage) => finish(stage, await stage.facade.migrateStorage(name, { to: stage.target, flatten: true })),
  },
  "snapshot-pivot": {
    makes: "s1",
    kinds: ["snapshot-create", "pivot"],
    points: 28,
    lastsMs: 1500,
    async act(stage) {
      const diskspecs = stage.disks.map((disk) => `${disk},mirror=${stage.target}/${disk}`);
      await stage.note("s1");
      await stage.facade.createSnapshot(name, { name: "s1", diskspecs });
      await stage.facade.endMirrors(name, "s1", "pivot");
    },
  },
  snapshot: {
    makes: "s1",
    kinds: ["snapshot-create"],
    points: 6,
    lastsMs: 200,
    act: (stage) => takeDiskOnly(stage, "s1"),
  },
  internal: {
    makes: "s1",
    kinds: ["snapshot-create"],
    points: 4,
    lastsMs: 2000,
    async act(stage) {
      await stage.note("s1");
      await stage.facade.createSnapshot(name, { name: "s1" });
      await stage.awaitWrites(20);
    },
  },
  /** The active layer is merged into the one below. */
  "delete-last": {
    keeps: ["s1"],
    kinds: ["snapshot-delete"],
    points: 12,
    lastsMs: 700,
    prepare: takeTwo,
    act: async (stage) => void (await stage.facade.deleteSnapshot(name, "s2", {})),
  },
  /** The layer in the middle goes up or down, whichever moves less. */
  "delete-middle": {
    keeps: ["s1", "s3"],
    kinds: ["snapshot-delete"],
    points: 12,
    lastsMs: 700,
    async prepare(stage) {
      await takeTwo(stage);
      await stage.awaitWrites(200);
      await takeDiskOnly(stage, "s3");
    },
    act: async (stage) => void (await stage.facade.deleteSnapshot(name, "s2", {})),
  },
  /** The active layer has much and the one below little, which is pulled up. */
  "delete-pull": {
    keeps: ["s1"],
    kinds: ["snapshot-delete"],
    points: 12,
    lastsMs: 700,
    async prepare(stage) {
      await takeTwo(stage);
      await stage.awaitWrites(400);
    },
    act: async (stage) => void (await stage.facade.deleteSnapshot(name, "s2", {})),
  },
  "delete-all": {
    kinds: ["snapshot-delete"],
    points: 24,
    lastsMs: 1500,
    prepare: takeTwo,
    act: async (stage) => void (await stage.facade.deleteSnapshot(name, "s1", { children: true })),
  },
  revert: {
    keeps: ["s1", "s2"],
    kinds: ["snapshot-revert"],
    points: 16,
    lastsMs: 1000,
    prepare: takeTwo,
    act: async (stage) => finish(stage, await stage.facade.revertSnapshot(name, "s1", { running: true })),
  },
  "revert-internal": {
    keeps: ["s1"],
    kinds: ["snapshot-revert"],
    points: 12,
    lastsMs: 2000,
    async prepare(stage) {
      await stage.note("s1");
      await stage.facade.createSnapshot(name, { name: "s1" });
      await stage.awaitWrites(20);
    },
    act: async (stage) => finish(stage, await stage.facade.revertSnapshot(name, "s1", {})),
  },
  clone: {
    kinds: ["clone-storage"],
    points: 24,
    lastsMs: 1500,
    act: async (stage) => finish(stage, await stage.facade.cloneStorage(name, { to: stage.target })),
  },
} satisfies Readonly<Record<string, Verb>>;

export type VerbName = keyof typeof verbs;
export const verbNames = Object.keys(verbs) as VerbName[];

export function verbOf(verb: VerbName): Verb {
  return verbs[verb];
}
