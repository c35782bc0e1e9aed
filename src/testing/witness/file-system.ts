/** The disks of a witness guest that has an agent: ext4, with the records in one file. They need e2fsprogs on the host. */
import { execFile } from "node:child_process";
import { open, rm, truncate, writeFile } from "node:fs/promises";
import { delimiter } from "node:path";
import { promisify } from "node:util";
import { QmError, errorText } from "../../base/errors.ts";
import { convertImage } from "./images.ts";

const run = promisify(execFile);

/** The tools are an administrator's, whose directories are not on every user's PATH. */
const env = { ...process.env, PATH: [process.env["PATH"], "/usr/sbin", "/sbin"].join(delimiter) };

interface ImageFile {
  readonly path: string;
  readonly format: "qcow2" | "raw";
}

/** Creates an image with an empty file system. Throws `QM_IMAGE_TOOL`. */
export async function makeFileSystem(image: ImageFile & { readonly sizeBytes: number }): Promise<void> {
  const draft = `${image.path}.draft`;
  try {
    await writeFile(draft, "");
    await truncate(draft, image.sizeBytes);
    await runTool("mkfs.ext4", ["-q", "-F", "-b", "4096", "-m", "0", draft]);
    await convertImage({ path: draft, format: "raw" }, image);
  } finally {
    await rm(draft, { force: true });
  }
}

export interface FileSystemState {
  /** The journal holds what the file system does not: it was not at rest (`EXT4_FEATURE_INCOMPAT_RECOVER`). */
  readonly needsRecovery: boolean;
  /** What e2fsck found wrong without repairing anything; absent: nothing. Not asked where the journal has to be read first. */
  readonly damage?: string;
}

/**
 * Looks at the file system of an image that nobody writes to (backing files are followed), and copies its `records` to
 * `recordsPath` where no recovery is needed. Throws `QM_IMAGE_TOOL`.
 */
export async function readFileSystem(image: ImageFile, recordsPath: string): Promise<FileSystemState> {
  const draft = `${recordsPath}.draft`;
  try {
    await convertImage(image, { path: draft, format: "raw" });
    if (await needsRecovery(draft)) return { needsRecovery: true };
    await runTool("debugfs", ["-R", `dump /records "${recordsPath}"`, draft]);
    const damage = await runTool("e2fsck", ["-f", "-n", draft]).then(
      () => undefined,
      (error) => errorText(error),
    );
    return { needsRecovery: false, ...(damage === undefined ? {} : { damage }) };
  } finally {
    await rm(draft, { force: true });
  }
}

/** In the superblock at 1024: the magic number at 0x38, the incompatible features at 0x60. */
async function needsRecovery(path: string): Promise<boolean> {
  const file = await open(path, "r");
  try {
    const superblock = Buffer.alloc(1024);
    await file.read(superblock, 0, superblock.length, 1024);
    if (superblock.readUInt16LE(0x38) !== 0xef53) {
      throw new QmError("QM_IMAGE_TOOL", { tool: "ext4", path, reason: "there is no file system" });
    }
    return (superblock.readUInt32LE(0x60) & 0x4) !== 0;
  } finally {
    await file.close();
  }
}

async function runTool(tool: "mkfs.ext4" | "e2fsck" | "debugfs", args: readonly string[]): Promise<void> {
  try {
    await run(tool, args, { env });
  } catch (error) {
    const said = (error as { stdout?: string }).stdout ?? "";
    throw new QmError(
      "QM_IMAGE_TOOL",
      { tool, path: args.at(-1) ?? "", reason: `${errorText(error)} ${said}` },
      { cause: error },
    );
  }
}
