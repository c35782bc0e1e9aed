/** The disks of a witness guest: made with a known pattern, read back as the guest would see them. */
import { execFile } from "node:child_process";
import { open, rename, rm } from "node:fs/promises";
import { promisify } from "node:util";
import { QmError, errorText } from "../../base/errors.ts";
import { blockBytes, buildPatternBlock } from "./record.ts";

const run = promisify(execFile);

export interface PatternImage {
  /** Created; must not be in use. */
  readonly path: string;
  readonly format: "qcow2" | "raw";
  /** A multiple of 4096. */
  readonly sizeBytes: number;
  /** The disk's index: each disk has another pattern. */
  readonly disk: number;
}

/**
 * Creates an image whose every block of 4096 bytes holds the pattern of its number and disk, so that `checkImages` can tell
 * when data that the guest never wrote is lost. Throws `QM_INVALID` for a size that is not whole blocks, `QM_IMAGE_TOOL` when qemu-img fails.
 */
export async function fillPattern(image: PatternImage): Promise<void> {
  const { path, format, sizeBytes, disk } = image;
  if (sizeBytes % blockBytes !== 0) throw new QmError("QM_INVALID", { reason: `size ${sizeBytes}: not whole blocks` });
  const draft = `${path}.pattern`;
  try {
    const file = await open(draft, "w");
    try {
      const blocks = sizeBytes / blockBytes;
      for (let first = 0; first < blocks; first += blocksAtOnce) {
        const length = Math.min(blocksAtOnce, blocks - first);
        await file.write(Buffer.concat(Array.from({ length }, (_, index) => buildPatternBlock(first + index, disk))));
      }
    } finally {
      await file.close();
    }
    if (format === "raw") await rename(draft, path);
    else await convertImage({ path: draft, format: "raw" }, { path, format });
  } finally {
    await rm(draft, { force: true });
  }
}

const blocksAtOnce = 256;

interface ImageFile {
  readonly path: string;
  readonly format: string;
}

/** Copies an image with its backing files into a new image without any. Throws `QM_IMAGE_TOOL` with qemu-img's words. */
export async function convertImage(from: ImageFile, to: ImageFile, signal?: AbortSignal): Promise<void> {
  try {
    await run(
      "qemu-img",
      ["convert", "-f", from.format, "-O", to.format, from.path, to.path],
      signal ? { signal } : {},
    );
  } catch (error) {
    throw new QmError(
      "QM_IMAGE_TOOL",
      { tool: "qemu-img", path: from.path, reason: errorText(error) },
      { cause: error },
    );
  }
}

/** The blocks of a raw file in order; the buffer is valid until the next one is asked for. Throws the file system's own errors. */
export async function* readBlocks(path: string): AsyncGenerator<{ readonly number: number; readonly bytes: Buffer }> {
  const file = await open(path, "r");
  try {
    const chunk = Buffer.alloc(blocksAtOnce * blockBytes);
    for (let first = 0; ; first += blocksAtOnce) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, first * blockBytes);
      for (let index = 0; index * blockBytes < bytesRead; index++) {
        yield { number: first + index, bytes: chunk.subarray(index * blockBytes, (index + 1) * blockBytes) };
      }
      if (bytesRead < chunk.length) return;
    }
  } finally {
    await file.close();
  }
}
