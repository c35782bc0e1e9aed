/** Walks a backing chain from its headers, one image at a time, before QEMU sees any of it. */
import { realpath } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { isQmError, QmError } from "../base/errors.ts";
import { diskFormats, type DiskFormat, type ImageChain, type ImageRef } from "../model/image.ts";
import { readSupportedHeader } from "./info.ts";
import { requireAbsolute, withImage } from "./open-image.ts";
import type { Qcow2Header } from "./qcow2-header.ts";

export interface ReadChainOptions {
  readonly disk: string;
  /** Says why a layer may not be used, or undefined. It gets the real path: compare it with the real paths of the roots. */
  readonly allowPath?: (realPath: string) => string | undefined;
  /** Images at most; default 64. */
  readonly maxDepth?: number;
}

/**
 * Reads the chain below `top`, whose format is stated; each lower format is the one that the header above states.
 *
 * Errors: `QM_NO_FILE` (the top image), `QM_CHAIN_BROKEN` (a lower layer is missing or not of the stated format, a header does not
 * state the backing format, loop, too deep, backing name that is not a plain path), `QM_PATH_FORBIDDEN` (`allowPath`), and those
 * of `readImageInfo`. Nothing is changed.
 */
export async function readChain(top: ImageRef, options: ReadChainOptions): Promise<ImageChain> {
  const { disk, allowPath, maxDepth = 64 } = options;
  const broken = (path: string, reason: string, cause?: unknown) =>
    new QmError("QM_CHAIN_BROKEN", { disk, path, reason }, { cause });
  const seen = new Set<string>();

  const readLayer = async (path: string, format: DiskFormat) => {
    requireAbsolute(path);
    if (allowPath !== undefined) await checkPath(path, disk, allowPath);
    return await withImage({ disk, path }, async (image) => {
      if (seen.has(image.identity)) throw broken(path, "it is in the chain twice");
      seen.add(image.identity);
      const header = format === "qcow2" ? await readSupportedHeader(image, { disk, path }) : undefined;
      return { ref: { type: image.type, path, format }, backing: backingOf(header, path, broken) };
    });
  };

  let layer = await readLayer(top.path, top.format);
  if (layer.ref.type !== top.type) {
    const reason = `it is of type '${layer.ref.type}'`;
    throw new QmError("QM_IMAGE_FORMAT", { disk, path: top.path, format: `of type '${top.type}'`, reason });
  }
  const chain: [ImageRef, ...ImageRef[]] = [layer.ref];
  while (layer.backing !== undefined) {
    if (chain.length >= maxDepth) throw broken(layer.ref.path, `the chain has more than ${maxDepth} images`);
    const { name, format } = layer.backing;
    const path = await resolveBackingPath(layer.ref.path, name);
    try {
      layer = await readLayer(path, format);
    } catch (error) {
      if (isQmError(error, "QM_NO_FILE")) throw broken(path, "it does not exist", error);
      if (isQmError(error, "QM_IMAGE_FORMAT")) throw broken(path, error.message, error);
      throw error;
    }
    chain.push(layer.ref);
  }
  return chain;
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
  // QEMU's own test for "protocol:rest": a colon before any slash.
  if (/^[^/]*:/.test(name)) throw broken(path, `its backing file '${name}' is not a plain path`);
  const stored = header?.backingFormat;
  if (stored === undefined) throw broken(path, "its header does not state the backing file's format");
  const format = diskFormats.find((known) => known === stored);
  if (format === undefined) throw broken(path, `its backing file's format '${stored}' is not supported`);
  return { name, format };
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
  const reason = allowPath(real);
  if (reason !== undefined) throw new QmError("QM_PATH_FORBIDDEN", { path, reason, realPath: real, disk });
}
