/** Merging and copying the layers of one disk by the user's word: `blockcommit`, `blockpull`, `blockcopy`. Pure. */
import type { ImageRef } from "../../model/image.ts";
import type { DiskCopy, MergeDown, StartCopy, Task, TaskPlan } from "../steps/task-plan.ts";
import { LayerTree, type TreeInput } from "./layer-tree.ts";

interface BlockInput {
  readonly id: string;
  readonly domain: TaskPlan["domain"];
  readonly disk: string;
  readonly bytesPerS: number;
}

export interface LayersInput extends BlockInput {
  /** The active image first. */
  readonly chain: readonly ImageRef[];
  readonly tree: TreeInput;
}

export interface CommitInput extends LayersInput {
  /** Places in the chain: the layers from `top` to the one above `base` are merged into `base`. */
  readonly top: number;
  readonly base: number;
}

/** An image that cannot be merged, and who needs it as it is. */
export interface Need {
  readonly path: string;
  readonly user: string;
}

/** The images of a merge that something else than the layer above needs: those that go, and the one that changes below others. */
export function findNeed({ disk, chain, tree: input, top, base }: CommitInput): Need | undefined {
  const tree = new LayerTree(input);
  for (const [index, { path }] of chain.entries()) {
    if (index < top || index > base) continue;
    const user =
      snapshotWith(input, path) ??
      definitionWith(input, path, index === 0 ? disk : undefined) ??
      tree.foreignUserOf(path) ??
      internalOf(tree, path);
    if (user !== undefined) return { path, user };
    const other = tree.childrenOf(path).find(({ image }) => image.path !== chain[index - 1]?.path);
    if (other !== undefined) return { path, user: `${other.image.path}, which stands on it` };
  }
  return undefined;
}

/** A pull changes nothing but the header and the data of the active image: its internal snapshots would miss what is below. */
export function findPullNeed({ chain, tree }: LayersInput): Need | undefined {
  const path = chain[0]?.path ?? "";
  const user = internalOf(new LayerTree(tree), path);
  return user === undefined ? undefined : { path, user };
}

function snapshotWith({ snapshots }: TreeInput, path: string): string | undefined {
  const found = snapshots.find(({ disks }) => disks.some(({ base }) => base?.path === path));
  return found === undefined ? undefined : `snapshot '${found.name}' (\`snapshot-delete\` of it merges layers)`;
}

/** `own`: the disk whose active image it may be, for that follows the merge. */
function definitionWith({ active }: TreeInput, path: string, own: string | undefined): string | undefined {
  const found = active.find((one) => one.path === path && one.disk !== own);
  return found === undefined ? undefined : `disk '${found.disk}' of a definition of the domain`;
}

function internalOf(tree: LayerTree, path: string): string | undefined {
  const tag = tree.find(path)?.tags[0];
  return tag === undefined ? undefined : `its internal snapshot '${tag}'`;
}

/**
 * From the lowest layer up, each into `base`: so no layer's data is moved more than once, each merge is between neighbours, and what is
 * done stays right when it stops in between. The merged images' files stay.
 */
export function planCommit(input: CommitInput): TaskPlan {
  const { id, disk, chain, top, base } = input;
  const known = new Map(input.tree.layers.map((layer) => [layer.image.path, layer]));
  const into = chain[base];
  if (into === undefined) throw new RangeError(`no layer ${base}`);
  const merges = chain
    .slice(top, base)
    .map((image, offset): MergeDown => {
      const place = top + offset;
      const above = chain[place - 1];
      return {
        task: "merge-down",
        disk,
        top: image,
        base: into,
        above: above === undefined ? [] : [above],
        bytes: known.get(image.path)?.dataBytes ?? 0,
        jobId: `qm-${id}-${place}`,
        change: {
          images: place === 0 ? [{ disk, from: image.path, to: into }] : [],
          forgottenLayers: [image.path],
        },
        takenBack: { images: place === 0 ? [{ disk, from: into.path, to: image }] : [] },
      };
    })
    .toReversed();
  const kept = chain.slice(top, base).map(({ path }) => path);
  return forward(input, merges, { merged: kept, into: into.path });
}

/** `base`: place of the layer that the active image stands on afterwards; absent: none. */
export function planPull(input: LayersInput, base: number | undefined): TaskPlan {
  const { id, disk, chain, tree } = input;
  const known = new Map(tree.layers.map((layer) => [layer.image.path, layer]));
  const [top, first, ...rest] = base === undefined ? chain : chain.slice(0, base);
  if (top === undefined || first === undefined) throw new RangeError("nothing to pull");
  const backing = base === undefined ? undefined : chain[base];
  const pulled = [first, ...rest] as const;
  const bytes = pulled.reduce((sum, { path }) => sum + (known.get(path)?.dataBytes ?? 0), 0);
  const task: Task = {
    ...{ task: "pull-up", disk, top, from: pulled, bytes, jobId: `qm-${id}-0`, change: {} },
    ...(backing === undefined ? {} : { backing }),
  };
  return forward(input, [task], { pulled: pulled.map(({ path }) => path), into: top.path });
}

/** The first task changes nothing: it is the decision, so that a merge is adopted after a crash of the daemon, and goes on. */
function forward(input: BlockInput, tasks: readonly Task[], result: TaskPlan["result"] & object): TaskPlan {
  const { id, domain, bytesPerS } = input;
  return {
    family: "tasks",
    id,
    domain,
    tasks: [{ task: "establish", change: {} }, ...tasks],
    decidedAt: 0,
    stoppable: true,
    options: { bytesPerS },
    result,
  };
}

export interface CopyInput extends BlockInput {
  readonly copy: DiskCopy;
  readonly found: StartCopy["found"];
  readonly backing?: ImageRef;
  readonly sizeBytes: number;
}

/** Ends when the copy is ready. From then on it belongs to the run of the domain, not to the operation. */
export function planCopy(input: CopyInput): TaskPlan {
  const { id, domain, disk, copy, found, backing, sizeBytes, bytesPerS } = input;
  return {
    family: "tasks",
    id,
    domain,
    tasks: [
      { task: "start-copy", disk, copy, found, sizeBytes, ...(backing === undefined ? {} : { backing }) },
      { task: "establish", change: { copies: [copy] } },
    ],
    decidedAt: 1,
    stoppable: false,
    options: { bytesPerS },
    result: { copy: copy.target.image.path },
  };
}

type CopyEndInput = Omit<BlockInput, "disk" | "bytesPerS"> & { readonly copy: DiskCopy };

/** The two phases of the pivot; the decision between them. */
export function planCopyPivot({ id, domain, copy }: CopyEndInput, timeoutMs: number): TaskPlan {
  const { disk, source, target } = copy;
  return {
    family: "tasks",
    id,
    domain,
    tasks: [
      { task: "hold-copy", disk, copy, timeoutMs },
      {
        task: "establish",
        change: { images: [{ disk, from: source.image.path, to: target.image }], endedCopies: [disk] },
      },
      { task: "finish-copy", disk, copy },
    ],
    decidedAt: 1,
    stoppable: false,
    options: { bytesPerS: 0 },
    result: { ended: "pivot", left: source.image.path },
  };
}

/** The destination's file stays: it is a copy of the disk as it was when the job ended, where it was ready. */
export function planCopyAbort({ id, domain, copy }: CopyEndInput): TaskPlan {
  const { disk, target } = copy;
  return {
    family: "tasks",
    id,
    domain,
    tasks: [
      { task: "establish", change: { endedCopies: [disk] } },
      { task: "end-copy", disk, copy },
    ],
    decidedAt: 0,
    stoppable: false,
    options: { bytesPerS: 0 },
    result: { ended: "abort", left: target.image.path },
  };
}
