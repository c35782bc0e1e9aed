/**
 * The file that keeps a guest's memory: one line of fixed length, the `<domain>` that it was saved with, then QEMU's migration
 * stream to the end of the file. The line says `complete` only once all the rest is on the disk; it is written last, and lies
 * within one sector.
 */
import { constants } from "node:fs";
import { open, unlink, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { errorText, QmError } from "../base/errors.ts";

const magic = "qmirror-memory";
const version = 1;
const lineBytes = 64;
const maxXmlBytes = 4 * 1024 * 1024;

/** What the guest does once it is loaded. */
export type StateAfterLoad = "running" | "paused";

export interface MemoryFileHeader {
  /** The `<domain>` it was saved with. */
  readonly xml: string;
  readonly state: StateAfterLoad;
  readonly streamBytes: number;
}

/** A memory file that is being written. */
export interface NewMemoryFile {
  /** Appends to QEMU's stream. Rejects with `QM_IO`. */
  write(chunk: Uint8Array): Promise<void>;
  /** Makes the file complete and durable, its name too, and closes it. Rejects with `QM_IO`: it is torn then. */
  complete(): Promise<void>;
  /** Closes and removes it. Never rejects: a torn file is known as such. */
  discard(): Promise<void>;
}

/** Makes a new file with mode 0600. Rejects with `QM_FILE_EXISTS` (by anything, a symbolic link too), `QM_NO_DIRECTORY`, `QM_IO`. */
export async function createMemoryFile(
  path: string,
  { xml, state }: Pick<MemoryFileHeader, "xml" | "state">,
): Promise<NewMemoryFile> {
  const file = await open(path, "wx", 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "EEXIST") throw new QmError("QM_FILE_EXISTS", { disk: "memory", path }, { cause: error });
    if (error.code === "ENOENT") throw new QmError("QM_NO_DIRECTORY", { path: dirname(path) }, { cause: error });
    throw ioError("creating", path, error);
  });
  const xmlBytes = Buffer.from(xml);
  let endBytes = 0;
  const write = async (bytes: Uint8Array): Promise<void> => {
    try {
      for (let done = 0; done < bytes.length;) {
        const { bytesWritten } = await file.write(bytes, done, bytes.length - done, endBytes);
        done += bytesWritten;
        endBytes += bytesWritten;
      }
    } catch (error) {
      throw ioError("writing", path, error);
    }
  };
  const discard = async (): Promise<void> => {
    await file.close().catch(() => undefined);
    await unlink(path).catch(() => undefined);
  };
  const complete = async (): Promise<void> => {
    try {
      await file.sync();
      const line = formatLine("complete", state, xmlBytes.length, endBytes - lineBytes - xmlBytes.length);
      await file.write(line, 0, lineBytes, 0);
      await file.sync();
      await file.close();
      await syncParent(path);
    } catch (error) {
      throw ioError("writing", path, error);
    }
  };
  try {
    await write(formatLine("partial", state, xmlBytes.length, 0));
    await write(xmlBytes);
  } catch (error) {
    await discard();
    throw error;
  }
  return { write, complete, discard };
}

/** Reads the part before the stream. Rejects with `QM_MEMORY_FILE` (torn, foreign, of another version), `QM_NO_FILE`, `QM_IO`. */
export async function readMemoryFile(path: string): Promise<MemoryFileHeader> {
  const { file, header } = await openMemoryFile(path);
  await file.close();
  return header;
}

/** Opens it for reading, its offset at the stream's first byte. The caller closes it. Rejects as `readMemoryFile`. */
export async function openMemoryFile(path: string): Promise<{ file: FileHandle; header: MemoryFileHeader }> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") throw new QmError("QM_NO_FILE", { disk: "memory", path }, { cause: error });
    throw ioError("reading", path, error);
  });
  try {
    return { file, header: await readHeader(file, path) };
  } catch (error) {
    await file.close();
    throw error instanceof QmError ? error : ioError("reading", path, error);
  }
}

async function readHeader(file: FileHandle, path: string): Promise<MemoryFileHeader> {
  const refuse = (reason: string) => new QmError("QM_MEMORY_FILE", { path, reason });
  const stats = await file.stat();
  if (!stats.isFile()) throw refuse("it is not a regular file");
  const line = (await readNext(file, lineBytes)).toString("latin1");
  if (!line.startsWith(`${magic} `)) throw refuse("qmirror did not write it");
  const [, fileVersion, written, state, xmlLength, streamLength] = line.trimEnd().split(" ");
  if (fileVersion !== String(version)) throw refuse(`its version is ${fileVersion}, this qmirror reads ${version}`);
  if (written !== "complete") throw refuse("it was not written to its end");
  const [xmlBytes, streamBytes] = [Number(xmlLength), Number(streamLength)];
  if (!(xmlBytes <= maxXmlBytes) || stats.size !== lineBytes + xmlBytes + streamBytes) {
    throw refuse("its length is not what its first line says");
  }
  if (state !== "running" && state !== "paused") throw refuse(`its first line has the state '${state}'`);
  return { state, xml: (await readNext(file, xmlBytes)).toString("utf8"), streamBytes };
}

/** Reads at the file's own offset, and moves it: QEMU goes on from there. Short at the end of the file. */
async function readNext(file: FileHandle, lengthBytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(lengthBytes);
  let filled = 0;
  while (filled < lengthBytes) {
    const { bytesRead } = await file.read(buffer, filled, lengthBytes - filled, null);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function formatLine(
  written: "partial" | "complete",
  state: StateAfterLoad,
  xmlBytes: number,
  streamBytes: number,
): Buffer {
  const text = `${magic} ${version} ${written} ${state} ${xmlBytes} ${streamBytes}`;
  return Buffer.from(`${text.padEnd(lineBytes - 1)}\n`, "latin1");
}

async function syncParent(path: string): Promise<void> {
  const directory = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function ioError(what: string, path: string, error: unknown): QmError {
  return new QmError("QM_IO", { what, path, reason: errorText(error) }, { cause: error });
}
