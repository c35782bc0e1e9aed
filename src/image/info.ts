/** Facts of one image, read without opening any other file. */
import type { BigIntStats } from "node:fs";
import { readFile } from "node:fs/promises";
import { QmError } from "../base/errors.ts";
import type { DiskFormat, ImageRef } from "../model/image.ts";
import { withImage, type OpenImage } from "./open-image.ts";
import { readQcow2Header, type ImageName, type Qcow2Header } from "./qcow2-header.ts";

export interface ImageInfo {
  readonly format: DiskFormat;
  readonly virtualSizeBytes: number;
  /** What the file takes on its file system; 0 for a block device. */
  readonly allocatedBytes: number;
  /** Length of the file or block device. */
  readonly lengthBytes: number;
  /** For qcow2. */
  readonly header?: Qcow2Header;
}

/**
 * Reads an image's facts by its stated format; nothing is probed. `qemu-img info` is not used: it opens what a qcow2 header
 * names as its data file, and costs a process for each image.
 *
 * Errors: those of `withImage`; `QM_IMAGE_FORMAT` when the bytes are not of that format, or the path not of that type;
 * `QM_UNSUPPORTED` for images on the network, encrypted ones, those with a data file, and features that we do not know.
 */
export async function readImageInfo(ref: ImageRef, { disk }: { readonly disk: string }): Promise<ImageInfo> {
  const name = { disk, path: ref.path };
  if (ref.type === "network")
    throw new QmError("QM_UNSUPPORTED", { what: "a network image", detail: unread(ref), ...name });
  return await withImage(name, async (image) => {
    if (image.type !== ref.type) {
      const reason = ref.type === "file" ? "it is a block device" : "it is a regular file";
      throw new QmError("QM_IMAGE_FORMAT", { ...name, format: `a ${ref.format} ${ref.type}`, reason });
    }
    const lengthBytes = image.type === "file" ? Number(image.stats.size) : await deviceSizeBytes(image.stats);
    const allocatedBytes = Number(image.stats.blocks) * 512;
    if (ref.format === "raw") {
      // QEMU rounds a raw file up to whole sectors.
      const virtualSizeBytes = Math.ceil(lengthBytes / 512) * 512;
      return { format: "raw", virtualSizeBytes, allocatedBytes, lengthBytes };
    }
    const header = await readSupportedHeader(image, name);
    return { format: "qcow2", virtualSizeBytes: header.virtualSizeBytes, allocatedBytes, lengthBytes, header };
  });
}

function unread({ path }: ImageRef): string {
  return ` here: ${path} can be what others stand on, but is not read, copied or merged by qmirror itself`;
}

/** Reads a qcow2 header and refuses (`QM_UNSUPPORTED`) what qmirror must not open. */
export async function readSupportedHeader(image: OpenImage, name: ImageName): Promise<Qcow2Header> {
  const header = await readQcow2Header(image.file, name);
  const refuse = (what: string) => new QmError("QM_UNSUPPORTED", { what, detail: `: ${name.path}`, ...name });
  if (header.dataFile) throw refuse("a qcow2 image with an external data file");
  if (header.encrypted) throw refuse("an encrypted qcow2 image");
  if (header.unknownFeatures) throw refuse("a qcow2 image with unknown incompatible features");
  return header;
}

/** Node has no ioctl: the kernel tells a block device's size in sysfs, in units of 512 bytes. */
async function deviceSizeBytes({ rdev }: BigIntStats): Promise<number> {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn & 0xffffffffn);
  return Number((await readFile(`/sys/dev/block/${major}:${minor}/size`, "utf8")).trim()) * 512;
}
