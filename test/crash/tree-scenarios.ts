/** What is interrupted: one operation of each kind, over a domain that makes every task of the engine take part somewhere. */
import type { TreeRequest } from "./tree-actor.ts";
import { copyOf, type Holding, type TreeStage } from "./tree-stage.ts";

export interface Scenario {
  readonly name: string;
  readonly disks: number;
  readonly prepare: (stage: TreeStage) => Promise<void>;
  /** The domain runs when the operation begins. */
  readonly runs: boolean;
  readonly request: (stage: TreeStage) => TreeRequest;
  /** When the operation has succeeded; absent: as before. */
  readonly stateAfter?: "running" | "paused" | "shut off";
  /** Further ways to die in undoing: `failAt` is earlier than the last moment. */
  readonly undoing?: readonly { readonly failAt: string; readonly point: string }[];
}

/** How many blocks each layer of a disk holds: what is larger decides whether layers are merged downwards or upwards. */
type Sizes = readonly [base: number, a: number, b: number, c: number];
const down: Sizes = [8, 20, 20, 2];
const up: Sizes = [8, 16, 20, 2];
const downAtTop: Sizes = [8, 4, 20, 20];
const upAtTop: Sizes = [8, 4, 16, 20];

/** External snapshots `a`, `b` and `c` in a row, with what was written before and after each. Layers overlap. */
function chainOf(...disks: readonly Sizes[]): Scenario["prepare"] {
  return async (stage) => {
    const write = async (layer: 0 | 1 | 2 | 3): Promise<void> => {
      for (const [disk, sizes] of disks.entries()) await stage.write(layer + 1, 4 * layer, sizes[layer], disk);
    };
    await write(0);
    for (const [index, name] of (["a", "b", "c"] as const).entries()) {
      await stage.snapshot({ name, diskOnly: true });
      await write((index + 1) as 1 | 2 | 3);
    }
  };
}

const deletion =
  (snapshot: string, body = {}): Scenario["request"] =>
  () => ({ verb: "delete", snapshot, body });
const reversion =
  (snapshot: string, body = {}): Scenario["request"] =>
  () => ({ verb: "revert", snapshot, body });

export const scenarios: readonly Scenario[] = [
  {
    name: "delete in the middle, down and up",
    disks: 2,
    prepare: chainOf(down, up),
    runs: true,
    request: deletion("b"),
  },
  {
    name: "delete below the active layer, down and up",
    disks: 2,
    prepare: chainOf(downAtTop, upAtTop),
    runs: true,
    request: deletion("c"),
  },
  {
    name: "delete while the domain does not run, down and up",
    disks: 2,
    prepare: chainOf(down, up),
    runs: false,
    request: deletion("b", { children: true }),
  },
  {
    name: "delete a side branch",
    disks: 2,
    async prepare(stage) {
      await stage.write(1, 0, 8);
      await stage.snapshot({ name: "root", diskOnly: true });
      await stage.write(2, 4, 8);
      await stage.snapshot({ name: "left", diskOnly: true });
      await stage.write(3, 8, 8);
      await stage.revert("root", { running: true });
      await stage.write(4, 4, 4);
      await stage.snapshot({ name: "right", diskOnly: true });
      await stage.write(5, 16, 2);
    },
    runs: true,
    request: deletion("left"),
  },
  {
    name: "delete an internal snapshot below the active layer",
    disks: 2,
    async prepare(stage) {
      await stage.write(1, 0, 8);
      await stage.snapshot({ name: "in" });
      await stage.write(2, 4, 8);
      await stage.snapshot({ name: "out", diskOnly: true });
      await stage.write(3, 8, 4);
    },
    runs: true,
    request: deletion("in"),
  },
  {
    name: "delete an internal snapshot of what the guest writes to",
    disks: 2,
    async prepare(stage) {
      await stage.write(1, 0, 8);
      await stage.snapshot({ name: "in" });
      await stage.write(2, 4, 8);
    },
    runs: true,
    request: deletion("in"),
  },
  {
    name: "revert a running domain, which runs on",
    disks: 2,
    prepare: chainOf(down, up),
    runs: true,
    request: reversion("a", { running: true }),
    stateAfter: "running",
  },
  {
    name: "revert a domain that does not run",
    disks: 2,
    prepare: chainOf(down, up),
    runs: false,
    request: reversion("b"),
  },
  {
    name: "revert to memory in a file",
    disks: 2,
    async prepare(stage) {
      await stage.write(1, 0, 8);
      await stage.snapshot({ name: "full", memspec: stage.path("images", "full.mem"), live: true });
      await stage.write(2, 4, 8);
    },
    runs: true,
    request: reversion("full"),
    stateAfter: "running",
  },
  {
    name: "revert to an internal snapshot with memory",
    disks: 2,
    async prepare(stage) {
      await stage.write(1, 0, 8);
      await stage.snapshot({ name: "full" });
      await stage.write(2, 4, 8);
    },
    runs: true,
    request: reversion("full", { paused: true }),
    stateAfter: "paused",
  },
  {
    name: "revert to an internal snapshot in an image that must not change",
    disks: 2,
    async prepare(stage) {
      await stage.write(1, 0, 8);
      await stage.snapshot({ name: "full" });
      await stage.write(2, 4, 8);
      await stage.snapshot({ name: "out", diskOnly: true });
      await stage.write(3, 8, 4);
    },
    runs: true,
    request: reversion("full"),
    stateAfter: "running",
  },
  {
    name: "revert to an internal snapshot without memory",
    disks: 2,
    async prepare(stage) {
      await stage.write(1, 0, 8);
      await stage.stop();
      await stage.snapshot({ name: "in" });
      await stage.facade.startDomain("tree");
      await stage.write(2, 4, 8);
    },
    runs: false,
    request: reversion("in"),
  },
  {
    name: "snapshot a domain that does not run, inside and outside",
    disks: 2,
    prepare: (stage) => stage.write(1, 0, 8),
    runs: false,
    request: () => ({
      verb: "create",
      body: { name: "s", diskspecs: ["vda,snapshot=external", "vdb,snapshot=internal"] },
    }),
  },
  {
    name: "snapshot a running domain inside its images",
    disks: 2,
    prepare: (stage) => stage.write(1, 0, 8),
    runs: true,
    request: () => ({ verb: "create", body: { name: "s" } }),
  },
  {
    name: "snapshot a running domain with its memory in a file",
    disks: 2,
    // The guest stands still.
    undoing: [{ failAt: "after take-snapshot #1", point: "undo save-memory #1" }],
    prepare: (stage) => stage.write(1, 0, 8),
    runs: true,
    request: (stage) => ({
      verb: "create",
      body: { name: "s", memspec: stage.path("images", "s.mem"), live: true },
    }),
  },
  {
    name: "save",
    disks: 1,
    prepare: (stage) => stage.write(1, 0, 8),
    runs: true,
    request: (stage) => ({ verb: "save", file: stage.path("images", "saved.mem") }),
    stateAfter: "shut off",
  },
];

/** What has to be there when the request was carried out. */
export function outcomeOf(request: TreeRequest, { present, snapshots }: Holding): Holding {
  const after = new Map(snapshots);
  if (request.verb === "create") after.set(request.body.name, copyOf(present));
  if (request.verb === "revert") return { present: copyOf(snapshots.get(request.snapshot) ?? []), snapshots: after };
  if (request.verb === "delete") {
    // In a row, or without children.
    const names = [...snapshots.keys()];
    const gone = names.slice(names.indexOf(request.snapshot));
    for (const name of request.body.children === true ? gone : [request.snapshot]) after.delete(name);
  }
  return { present: copyOf(present), snapshots: after };
}
