/** Which block node stands above which: QEMU tells it directly where it can, otherwise it is concluded from file names. */
import { isQmError } from "../base/errors.ts";
import type { QmpClient } from "../qmp/client-types.ts";
import type { Monitor } from "./monitor.ts";
import type { BlockDeviceInfo, BlockInfo, ImageInfo } from "./qapi.gen.ts";

/** What `query-named-block-nodes` says of a node. QEMU 10.1 and later name its children too. */
export type NodeInfo = BlockDeviceInfo & { readonly children?: readonly ChildInfo[] };

interface ChildInfo {
  readonly child: string;
  readonly "node-name": string;
}

/** By node name, then by the child's role (`file`, `backing`, `data-file`): the child's node name. */
export type Edges = ReadonlyMap<string, ReadonlyMap<string, string>>;

interface DebugGraph {
  readonly nodes: readonly { readonly id: number; readonly type: string; readonly name: string }[];
  readonly edges: readonly { readonly parent: number; readonly child: number; readonly name: string }[];
}

/** Not part of the generated vocabulary: QEMU keeps it for debugging, from 4.0 on. */
type DebugMonitor = QmpClient<{ "x-debug-query-block-graph": { args: undefined; result: DebugGraph } }>;

export interface BlockAnswers {
  readonly blocks: readonly BlockInfo[];
  /** Empty for a QEMU without named nodes (before 2.0). */
  readonly nodes: ReadonlyMap<string, NodeInfo>;
  /** Absent where QEMU tells none: see `concludeEdges`. */
  readonly edges?: Edges;
}

/** Asks for devices, nodes and edges in one pipeline. Rejects as `Monitor.execute` does. */
export async function askBlockGraph(monitor: Monitor): Promise<BlockAnswers> {
  const debug = monitor as unknown as DebugMonitor;
  const [blocks, flat, graph] = await Promise.all([
    monitor.execute("query-block"),
    orUndefined(monitor.execute("query-named-block-nodes", { flat: true })),
    orUndefined(debug.execute("x-debug-query-block-graph")),
  ]);
  // `flat` is refused before 5.0, the command itself is unknown before 2.0.
  const list = flat ?? (await orUndefined(monitor.execute("query-named-block-nodes"))) ?? [];
  const nodes = new Map(list.map((info) => [info["node-name"] ?? "", info as NodeInfo]));
  const edges = readChildren(nodes) ?? (graph === undefined ? undefined : readDebugGraph(graph));
  return { blocks, nodes, ...(edges === undefined ? {} : { edges }) };
}

async function orUndefined<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isQmError(error, "QM_QMP_COMMAND")) return undefined;
    throw error;
  }
}

function readChildren(nodes: ReadonlyMap<string, NodeInfo>): Edges | undefined {
  const edges = new Map<string, Map<string, string>>();
  for (const [name, { children }] of nodes) {
    if (children === undefined) return undefined;
    edges.set(name, new Map(children.map((child) => [child.child, child["node-name"]])));
  }
  return edges;
}

function readDebugGraph(graph: DebugGraph): Edges {
  const nodes = new Map(graph.nodes.filter(({ type }) => type === "block-driver").map(({ id, name }) => [id, name]));
  const edges = new Map<string, Map<string, string>>();
  for (const { parent, child, name } of graph.edges) {
    const [above, below] = [nodes.get(parent), nodes.get(child)];
    if (above === undefined || below === undefined) continue;
    edges.set(above, (edges.get(above) ?? new Map<string, string>()).set(name, below));
  }
  return edges;
}

/**
 * Edges of one disk's chain, by comparing the file names and formats that `query-block` shows for it with those of all nodes. A
 * reason in place of them when two nodes fit: QEMUs before 4.0 with an image that is open twice.
 */
export function concludeEdges(root: NodeInfo, nodes: ReadonlyMap<string, NodeInfo>): Edges | string {
  const edges = new Map<string, ReadonlyMap<string, string>>();
  if (isJobFilter(root)) return `the node of a block job (${root.drv}) hides the disk's images`;
  if (!isFormat(root.drv)) return edges;
  let above = root["node-name"] ?? "";
  for (let image: ImageInfo | undefined = root.image; image !== undefined; image = image["backing-image"]) {
    const filename = readFileName(image.filename);
    const file = findOnly(nodes, (node) => !isFormat(node.drv) && !isJobFilter(node) && node.file === filename);
    if (file === undefined) return `no node, or more than one, can be the file ${filename}`;
    const children = new Map([["file", file]]);
    edges.set(above, children);
    const backing: ImageInfo | undefined = image["backing-image"];
    if (backing === undefined) continue;
    const below = findOnly(nodes, (node) => node.drv === backing.format && node.file === backing.filename);
    if (below === undefined) return `no node, or more than one, can be the backing image ${backing.filename}`;
    children.set("backing", below);
    above = below;
  }
  return edges;
}

function findOnly(nodes: ReadonlyMap<string, NodeInfo>, fits: (node: NodeInfo) => boolean): string | undefined {
  const found = [...nodes].filter(([, node]) => fits(node));
  return found.length === 1 ? found[0]?.[0] : undefined;
}

/** The file of an image; of one that was composed of nodes QEMU shows `json:{…,"file":{"filename":…}}`. */
function readFileName(filename: string): string {
  if (!filename.startsWith("json:")) return filename;
  try {
    const options = JSON.parse(filename.slice("json:".length)) as { file?: { filename?: unknown } };
    return typeof options.file?.filename === "string" ? options.file.filename : filename;
  } catch {
    return filename; // QEMU cuts long ones off
  }
}

function isFormat(driver: string): boolean {
  return driver === "qcow2" || driver === "raw";
}

/** How the filters are called that our own `block-stream` jobs put into a chain: that driver has other uses too. */
export const pullFilterPrefix = "qm-pull-";

/** Whether a node is one that a block job put into a chain for as long as it runs. */
export function isJobFilter(node: NodeInfo | undefined): boolean {
  if (node?.drv === "copy-on-read") return node["node-name"]?.startsWith(pullFilterPrefix) === true;
  return node?.drv === "mirror_top" || node?.drv === "commit_top";
}
