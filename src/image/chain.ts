/** Walks a backing chain from its headers, one image at a time, before QEMU sees any of it. */
import { readlink, realpath } from "node:fs/promises";
import { basename, dirname, normalize } from "node:path";
import { isQmError, QmError } from "../base/errors.ts";
import { diskFormats, type DiskFormat, type ImageChain, type ImageRef } from "../model/image.ts";
import { readJsonName } from "../model/network-options.ts";
import { formatNetworkPath, parseNetworkPath } from "../model/network-source.ts";
import { readSupportedHeader } from "./info.ts";
import { requireAbsolute, withImage } from "./open-image.ts";
import type { Qcow2Header } from "./qcow2-header.ts";

export interface ReadChainOptions {
  readonly disk: string;
  /**
   * What the domain's definition says is below the disk's active image (`Disk.statedBacking`). A header may name a network layer only
   * when it is one of these; what follows it here is what it stands on.
   */
  readonly stated?: readonly ImageRef[] | undefined;
  /** Says why a layer may not be used, or undefined. It gets the real path: compare it with the real paths of the roots. */
  readonly allowPath?: (realPath: string) => string | undefined;
  /** Images at most; default 64. */
  readonly maxDepth?: number;
}

/**
 * Reads the chain below `top`, whose format is stated; each lower format is the one that the header above states. Layers on the network
 * are not opened: what is below one is what `stated` says.
 *
 * Errors: `QM_NO_FILE` (the top image), `QM_CHAIN_BROKEN` (a lower layer is missing or not of the stated format, a header does not
 * state the backing format, loop, too deep, a backing name that is neither a plain path nor a network layer of `stated`, headers that
 * contradict `stated`), `QM_PATH_FORBIDDEN` (`allowPath`), and those of `readImageInfo`. Nothing is changed.
 */
export async function readChain(top: ImageRef, options: ReadChainOptions): Promise<ImageChain> {
  const { disk, stated, allowPath, maxDepth = 64 } = options;
  const broken = (path: string, reason: string, cause?: unknown) =>
    new QmError("QM_CHAIN_BROKEN", { disk, path, reason }, { cause });
  const seen = new Set<string>();
  const see = (path: string, identity: string) => {
    if (seen.has(identity)) throw broken(path, "it is in the chain twice");
    seen.add(identity);
  };

  const readLayer = async (path: string, format: DiskFormat): Promise<Layer> => {
    requireAbsolute(path);
    if (allowPath !== undefined) await checkPath(path, disk, allowPath);
    return await withImage({ disk, path }, async (image) => {
      // Again, for what was opened: the name may mean another file by now.
      if (allowPath !== undefined) refusePath(await readlink(`/proc/self/fd/${image.file.fd}`), path, disk, allowPath);
      see(path, image.identity);
      const header = format === "qcow2" ? await readSupportedHeader(image, { disk, path }) : undefined;
      const backing = backingOf(header, path, broken);
      return {
        ref: { type: image.type, path, format },
        ...(backing === undefined ? {} : { below: await resolveBacking(path, backing, stated, broken) }),
      };
    });
  };
  const stateLayer = (image: ImageRef, remaining: readonly ImageRef[]): Layer => {
    see(image.path, image.path);
    const [below] = remaining;
    return { ref: image, ...(below === undefined ? {} : { below }) };
  };
  /** What the definition says is below a network layer, which may be the top one. */
  const statedBelow = (image: ImageRef): readonly ImageRef[] =>
    image === top ? (stated ?? []) : (stated ?? []).slice((stated ?? []).indexOf(image) + 1);

  let layer = top.type === "network" ? stateLayer(top, statedBelow(top)) : await readLayer(top.path, top.format);
  if (layer.ref.type !== top.type) {
    const reason = `it is of type '${layer.ref.type}'`;
    throw new QmError("QM_IMAGE_FORMAT", { disk, path: top.path, format: `of type '${top.type}'`, reason });
  }
  const chain: [ImageRef, ...ImageRef[]] = [layer.ref];
  while (layer.below !== undefined) {
    if (chain.length >= maxDepth) throw broken(layer.ref.path, `the chain has more than ${maxDepth} images`);
    const { below } = layer;
    const { path } = below;
    try {
      layer = isNetwork(below) ? stateLayer(below, statedBelow(below)) : await readLayer(path, below.format);
    } catch (error) {
      if (isQmError(error, "QM_NO_FILE")) throw broken(path, "it does not exist", error);
      if (isQmError(error, "QM_IMAGE_FORMAT")) throw broken(path, error.message, error);
      throw error;
    }
    chain.push(layer.ref);
  }
  if (stated !== undefined) checkStated(chain, stated, broken);
  return chain;
}

interface Layer {
  readonly ref: ImageRef;
  readonly below?: Below;
}

/** Of a layer on this host only the image itself tells its type. */
type Below = ImageRef | { readonly path: string; readonly format: DiskFormat };

function isNetwork(below: Below): below is ImageRef {
  return "type" in below && below.type === "network";
}

/**
 * Where the definition states a whole chain, the headers must say the same. One that begins with a network layer on which files stand
 * is what `settleBacking` has left: snapshots may have come between, and a pull may have made the layer needless.
 */
function checkStated(chain: ImageChain, stated: readonly ImageRef[], broken: Broken): void {
  const [first] = stated;
  const start = chain[0].type !== "network" && first?.type === "network" ? chain.indexOf(first) : 1;
  if (start === -1) return;
  const below = chain.slice(start);
  const count = Math.max(below.length, stated.length);
  for (let place = 0; place < count; place++) {
    const [found, wanted] = [below[place], stated[place]];
    if (found !== undefined && wanted !== undefined && isSameImage(found, wanted)) continue;
    const name = (image: ImageRef | undefined) => (image === undefined ? "nothing" : `${image.path} (${image.format})`);
    const reason = `<backingStore> says that it stands on ${name(wanted)}, its header says ${name(found)}`;
    throw broken(chain[start + place - 1]?.path ?? chain[0].path, reason);
  }
}

function isSameImage(found: ImageRef, wanted: ImageRef): boolean {
  return found.type === wanted.type && found.format === wanted.format && plainPath(found) === plainPath(wanted);
}

function plainPath({ type, path }: ImageRef): string {
  return type === "network" ? path : normalize(path);
}

/**
 * The path of a backing file as QEMU resolves it: relative names start at the directory in the image's own path (a symbolic link
 * to the image is not followed for that).
 */
export async function resolveBackingPath(imagePath: string, name: string): Promise<string> {
  if (name.startsWith("/")) return name;
  const path = `${dirname(imagePath)}/${name}`.replaceAll(/\/{2,}/g, "/");
  if (!/(?:^|\/)\.\.?\//.test(path)) return path;
  // ".." behind a symbolic link is the kernel's business, not that of text.
  try {
    return `${await realpath(dirname(path))}/${basename(path)}`;
  } catch {
    return path;
  }
}

type Broken = (path: string, reason: string, cause?: unknown) => QmError;

function backingOf(header: Qcow2Header | undefined, path: string, broken: Broken) {
  const name = header?.backingName;
  if (name === undefined) return undefined;
  const stored = header?.backingFormat;
  if (stored === undefined) throw broken(path, "its header does not state the backing file's format");
  const format = diskFormats.find((known) => known === stored);
  if (format === undefined) throw broken(path, `its backing file's format '${stored}' is not supported`);
  return { name, format };
}

async function resolveBacking(
  path: string,
  { name, format }: { readonly name: string; readonly format: DiskFormat },
  stated: readonly ImageRef[] | undefined,
  broken: Broken,
): Promise<Below> {
  // QEMU's own test for "protocol:rest": a colon before any slash.
  if (!/^[^/]*:/.test(name)) return { path: await resolveBackingPath(path, name), format };
  const source = readJsonName(name) ?? parseNetworkPath(name);
  const known = source === undefined ? undefined : formatNetworkPath(source);
  const layer = stated?.find((image) => image.type === "network" && image.path === known);
  if (layer === undefined) {
    const detail = known === undefined ? "" : ", and the disk's <backingStore> does not name it";
    throw broken(path, `its backing file '${hideSecrets(name)}' is not a plain path${detail}`);
  }
  if (layer.format === format) return layer;
  throw broken(path, `its header says that ${layer.path} is ${format}, <backingStore> says ${layer.format}`);
}

async function checkPath(
  path: string,
  disk: string,
  allowPath: (realPath: string) => string | undefined,
): Promise<void> {
  let real: string;
  try {
    real = await realpath(path);
  } catch (error) {
    throw new QmError("QM_NO_FILE", { disk, path }, { cause: error });
  }
  refusePath(real, path, disk, allowPath);
}

function refusePath(
  realPath: string,
  path: string,
  disk: string,
  allowPath: (realPath: string) => string | undefined,
): void {
  const reason = allowPath(realPath);
  if (reason !== undefined) throw new QmError("QM_PATH_FORBIDDEN", { path, reason, realPath, disk });
}

/** A backing file's name without what may be a password: of a URL its user, of `json:` and other protocols all behind the name. */
function hideSecrets(name: string): string {
  const url = /^([^/:]*:\/\/)(?:[^/]*@)?([^?]*)/.exec(name);
  return url === null ? name.replace(/:.*$/s, ":…") : `${url[1] ?? ""}${url[2] ?? ""}`;
}
