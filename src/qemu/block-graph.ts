/** The guest's disks and their backing chains as QEMU has them, whoever started it. */
import { isAbsolute, join } from "node:path";
import { makeNetworkImage, type ImageRef } from "../model/image.ts";
import { readNetworkName } from "./network-names.ts";
import { networkProtocols } from "../model/network-source.ts";
import {
  askBlockGraph,
  concludeEdges,
  isJobFilter,
  type BlockAnswers,
  type Edges,
  type NodeInfo,
} from "./block-edges.ts";
import { nameDisks, qomPath } from "./disk-names.ts";
import type { Monitor } from "./monitor.ts";
import type { BlockInfo } from "./qapi.gen.ts";

export interface GuestDisk {
  /** Unique name: the device's id (`vda`), otherwise QEMU's drive name (`virtio0`), otherwise the end of its QOM path. */
  readonly target: string;
  /** QOM path of the device; empty where QEMU does not tell (before 2.12). */
  readonly qdev: string;
  /** Name of the block backend; empty for a disk that was given by node name. */
  readonly device: string;
  /** Active image first. Shorter than the real chain, possibly empty, when `unsupported` is set. */
  readonly layers: readonly LayerNode[];
  /** Virtual size; 0 where QEMU does not tell (before 1.3). */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Why qmirror cannot work with this disk; absent when it can. For `QM_UNSUPPORTED` when the disk is selected. */
  readonly unsupported?: string;
}

export interface LayerNode {
  /** Empty for a QEMU without named nodes. */
  readonly node: string;
  /** The node below, of the file or block device; absent where the image is such a node itself. */
  readonly fileNode?: string;
  readonly image: ImageRef;
  readonly cache: { readonly direct: boolean; readonly noFlush: boolean };
  readonly detectZeroes: "off" | "on" | "unmap";
}

export interface ReadDisksOptions {
  /** QEMU's working directory, for images that were named by a relative path; without it they are unsupported. */
  readonly cwd?: string;
}

/**
 * All disks of the guest that have a medium, in QEMU's order. Firmware flash and drives without a device are left out. Nodes of a
 * running mirror, commit or pull of ours are looked through. Rejects as `Monitor.execute` does.
 */
export async function readGuestDisks(monitor: Monitor, options: ReadDisksOptions = {}): Promise<GuestDisk[]> {
  const answers = await askBlockGraph(monitor);
  // Drives that no device uses have no qdev; old QEMUs tell none at all.
  const tellsDevices = answers.blocks.some(({ qdev }) => qdev !== undefined);
  const disks = answers.blocks.filter(
    ({ inserted, qdev, device }) =>
      inserted !== undefined && !(tellsDevices && qdev === undefined) && !isFlash(device, qdev ?? ""),
  );
  const targets = nameDisks(disks);
  return disks.flatMap((block, index) => describeDisk(block, targets[index] ?? "", answers, options));
}

function isFlash(device: string, qdev: string): boolean {
  return /^pflash\d+$/.test(device) || /^\/machine\/system\.flash\d+$/.test(qdev);
}

function describeDisk(block: BlockInfo, target: string, answers: BlockAnswers, options: ReadDisksOptions): GuestDisk[] {
  const { inserted } = block;
  if (inserted === undefined) return [];
  const disk = {
    target,
    qdev: qomPath(block.qdev),
    device: block.device,
    sizeBytes: (inserted as OldNodeInfo).image?.["virtual-size"] ?? 0,
    readOnly: inserted.ro,
  };
  if (answers.nodes.size === 0) return [{ ...disk, ...readUnnamedChain(inserted, options) }];
  const edges = answers.edges ?? concludeEdges(inserted, answers.nodes);
  if (typeof edges === "string") return [{ ...disk, layers: [], unsupported: edges }];
  return [{ ...disk, ...readChain(inserted["node-name"] ?? "", answers.nodes, edges, options) }];
}

type Chain = Pick<GuestDisk, "layers" | "unsupported">;

function readChain(root: string, nodes: ReadonlyMap<string, NodeInfo>, edges: Edges, options: ReadDisksOptions): Chain {
  const layers: LayerNode[] = [];
  for (let name: string | undefined = root; name !== undefined; name = edges.get(name)?.get("backing")) {
    name = skipJobFilters(name, nodes, edges);
    const layer = readLayer(name, nodes, edges.get(name) ?? new Map<string, string>(), options);
    if (typeof layer === "string") return { layers, unsupported: layer };
    layers.push(layer);
  }
  return { layers };
}

function skipJobFilters(start: string, nodes: ReadonlyMap<string, NodeInfo>, edges: Edges): string {
  let name = start;
  while (isJobFilter(nodes.get(name))) {
    const below = edges.get(name)?.get("backing") ?? edges.get(name)?.get("file");
    if (below === undefined) break;
    name = below;
  }
  return name;
}

function readLayer(
  name: string,
  nodes: ReadonlyMap<string, NodeInfo>,
  children: ReadonlyMap<string, string>,
  options: ReadDisksOptions,
): LayerNode | string {
  const info = nodes.get(name);
  if (info === undefined) return `node '${name}' is not in QEMU's list of nodes`;
  if (isProtocol(info.drv)) return makeLayer(info, name, "raw", info, undefined, options);
  if (info.drv !== "qcow2" && info.drv !== "raw") return `node '${name}' has the driver ${info.drv}`;
  if (info.encrypted) return `node '${name}' is encrypted`;
  if (children.has("data-file")) return `node '${name}' keeps its data in another file`;
  if (info.drv === "raw" && isWindow(info.file)) return `node '${name}' shows a part of its file`;
  const fileNode = children.get("file") ?? "";
  const file = nodes.get(fileNode);
  if (file === undefined) return `node '${name}' has no file`;
  return makeLayer(info, name, info.drv, file, fileNode, options);
}

function makeLayer(
  info: OldNodeInfo,
  node: string,
  format: ImageRef["format"],
  file: Pick<NodeInfo, "drv" | "file">,
  fileNode: string | undefined,
  { cwd }: ReadDisksOptions,
): LayerNode | string {
  if (!isProtocol(file.drv)) return `node '${node}' is on the driver ${file.drv}`;
  const image = readImage(node, format, file, cwd);
  if (typeof image === "string") return image;
  return {
    node,
    ...(fileNode === undefined ? {} : { fileNode }),
    image,
    cache: { direct: info.cache?.direct ?? false, noFlush: info.cache?.["no-flush"] ?? false },
    detectZeroes: info.detect_zeroes ?? "off",
  };
}

function readImage(
  node: string,
  format: ImageRef["format"],
  { drv, file }: Pick<NodeInfo, "drv" | "file">,
  cwd: string | undefined,
): ImageRef | string {
  const unknown = `the file of node '${node}' cannot be told from ${file}`;
  const type = imageTypes[drv];
  if (type === undefined) {
    const source = readNetworkName(drv, file);
    return source === undefined ? unknown : makeNetworkImage(source, format);
  }
  const filename = decodeFilename(file);
  if (filename === undefined) return unknown;
  if (!isAbsolute(filename) && cwd === undefined) return `node '${node}' was opened by the relative path ${filename}`;
  return { type, path: isAbsolute(filename) ? filename : join(cwd ?? "/", filename), format };
}

const imageTypes: Partial<Record<string, "file" | "block">> = { file: "file", host_device: "block" };

function isProtocol(driver: string): boolean {
  return imageTypes[driver] !== undefined || networkProtocols.some((protocol) => protocol === driver);
}

/** A plain path as it is; `json:{…}` when all that it says is a filename on a plain driver. */
function decodeFilename(filename: string): string | undefined {
  if (!filename.startsWith("json:")) return filename;
  const name = readOptions(filename)?.["filename"];
  return typeof name === "string" ? name : undefined;
}

/** Whether a raw node shows less than its whole file: QEMU then writes its options in place of a name. */
function isWindow(filename: string): boolean {
  if (!filename.startsWith("json:")) return false;
  const options = readOptions(filename);
  return options === undefined || "offset" in options || "size" in options;
}

/** The options of a `json:` name; undefined when QEMU has cut it off. */
function readOptions(filename: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(filename.slice("json:".length)) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** The oldest QEMUs tell less of a disk than the schema that our types are made from. */
type OldNodeInfo = Omit<NodeInfo, "image" | "cache" | "detect_zeroes" | "backing_file_depth"> &
  Partial<Pick<NodeInfo, "image" | "cache" | "detect_zeroes" | "backing_file_depth">>;

/** A QEMU without named nodes (before 2.0): what `query-block` alone says. Its `image` came with 1.3. */
function readUnnamedChain(inserted: OldNodeInfo, options: ReadDisksOptions): Chain {
  const layers: LayerNode[] = [];
  let image = inserted.image ?? { filename: inserted.file, format: inserted.drv, "virtual-size": 0 };
  for (;;) {
    const { filename, format } = image;
    if (format !== "qcow2" && format !== "raw") return { layers, unsupported: `${filename} has the format ${format}` };
    // Such a QEMU does not name the driver below; block devices are where the system keeps them.
    const drv = filename.startsWith("/dev/") ? "host_device" : "file";
    const layer = makeLayer(inserted, "", format, { drv, file: filename }, undefined, options);
    if (typeof layer === "string") return { layers, unsupported: layer };
    layers.push(layer);
    if (image["backing-image"] === undefined) break;
    image = image["backing-image"];
  }
  const depth = inserted.backing_file_depth ?? (inserted.backing_file === undefined ? 0 : 1);
  return layers.length > depth ? { layers } : { layers, unsupported: "QEMU does not tell its backing chain" };
}
