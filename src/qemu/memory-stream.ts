/**
 * A guest's memory out of a running QEMU, as the stream of a migration (QAPI `migrate`). QEMU 7.2 cannot write it to a file by
 * itself: it connects to a socket of ours, and what comes through that goes to the file. When our end is gone, the migration fails
 * and the guest goes on: see docs/internals/memory.md.
 */
import { once } from "node:events";
import { chmod, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { throwIfAborted, withLimits } from "../base/abort.ts";
import { errorText, QmError } from "../base/errors.ts";
import { activateImages } from "./activate-images.ts";
import { createMemoryFile, type NewMemoryFile, type StateAfterLoad } from "./memory-file.ts";
import { watchMigration } from "./migration.ts";
import { isConnected, type Monitor } from "./monitor.ts";
import { ignoreRefusal } from "./tolerate.ts";

const what = "saving the memory";

/** QEMU's own limit is 128 MiB/s. No number above this is exact in JSON. */
const unlimitedBytesPerS = Number.MAX_SAFE_INTEGER;

/** A running guest whose stream has grown to this many times its memory changes it faster than we write: it is stopped. */
const maxLivePasses = 2;

const progressStepBytes = 4 * 1024 * 1024;

export interface SaveMemoryOptions {
  /** The new file. */
  readonly path: string;
  /** The `<domain>` that the file is to be loaded with. */
  readonly xml: string;
  /** For a socket in a directory of ours; whatever has that name is removed. */
  readonly socketPath: string;
  /** The guest runs while its memory is copied; otherwise it stands still from the beginning. */
  readonly live: boolean;
  /** What the file says that the guest does once it is loaded; absent: what it does now. */
  readonly afterwards?: StateAfterLoad;
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Saves the memory and the devices' state. When it resolves, the guest stands still at the saved instant (`postmigrate`), its images
 * are active, and the file is complete and durable; `cont` lets the guest go on.
 *
 * When it rejects, the guest is in the state that it had before, the file is gone, and no migration is under way; with the connection
 * lost (`QM_QMP_LOST`) QEMU ends the migration by itself, but the guest may stand still: then call `abandonSave`.
 * Errors: `QM_FILE_EXISTS` (the file is somebody else's, and stays), `QM_NO_DIRECTORY`, `QM_IO`, `QM_CANCELLED`,
 * `QM_OPERATION_FAILED` with QEMU's words, `QM_QMP_COMMAND` (a device that cannot be migrated).
 */
export async function saveMemory(monitor: Monitor, options: SaveMemoryOptions): Promise<void> {
  const { path, xml, socketPath, afterwards, signal } = options;
  throwIfAborted(signal, what);
  const before = await monitor.execute("query-status");
  const wasRunning = before.running;
  const file = await createMemoryFile(path, { xml, state: afterwards ?? (wasRunning ? "running" : "paused") });
  try {
    if (before.status === "postmigrate") await leavePostmigrate(monitor);
    await transfer(monitor, file, options, wasRunning);
    await activateImages(monitor, socketPath);
    await file.complete();
  } catch (error) {
    await file.discard();
    if (isConnected(monitor)) await abandonSave(monitor, { wasRunning, socketPath });
    throw error;
  } finally {
    await rm(socketPath, { force: true });
  }
}

/** Ends a save that is under way or was completed, and lets the guest run if it did before. Idempotent. */
export async function abandonSave(
  monitor: Monitor,
  { wasRunning, socketPath }: { readonly wasRunning: boolean; readonly socketPath: string },
): Promise<void> {
  const watch = watchMigration(monitor);
  try {
    await ignoreRefusal(monitor.execute("migrate_cancel"));
    const { status = "none" } = await monitor.execute("query-migrate");
    if (isUnderWay(status)) await watch.ended;
  } finally {
    watch.close();
  }
  const { running, status } = await monitor.execute("query-status");
  if (wasRunning && !running) await monitor.execute("cont");
  if (!wasRunning && status === "postmigrate") await activateImages(monitor, socketPath);
}

/** QEMU refuses a second migration of a guest that stands still since the first: it has to run for a moment. */
async function leavePostmigrate(monitor: Monitor): Promise<void> {
  await Promise.all([monitor.execute("cont"), monitor.execute("stop")]);
}

function isUnderWay(status: string): boolean {
  return !["none", "completed", "failed", "cancelled"].includes(status);
}

async function transfer(
  monitor: Monitor,
  file: NewMemoryFile,
  options: SaveMemoryOptions,
  wasRunning: boolean,
): Promise<void> {
  const { socketPath, live, signal, onProgress } = options;
  const memory = await monitor.execute("query-memory-size-summary");
  const totalBytes = memory["base-memory"] + (memory["plugged-memory"] ?? 0);
  await monitor.execute("migrate-set-capabilities", { capabilities: [{ capability: "events", state: true }] });
  await monitor.execute("migrate-set-parameters", { "max-bandwidth": unlimitedBytesPerS });
  const server = await listen(socketPath);
  const watch = watchMigration(monitor);
  try {
    let mustStop = wasRunning && !live;
    let isTooSlow: Promise<unknown> = Promise.resolve();
    if (mustStop) await monitor.execute("stop");
    const received = receiveInto(file, server, (doneBytes) => {
      if (wasRunning && !mustStop && doneBytes > maxLivePasses * totalBytes) {
        mustStop = true;
        // Where this fails the connection is lost, and the wait below says so.
        isTooSlow = monitor.execute("stop").catch(() => undefined);
      }
      onProgress?.(Math.min(doneBytes, totalBytes), totalBytes);
    });
    received.catch(() => undefined); // heard below
    await monitor.execute("migrate", { uri: `unix:${socketPath}` });
    const status = await withLimits(what, Promise.race([watch.ended, received.then(() => watch.ended)]), { signal });
    await isTooSlow;
    if (status !== "completed") throw await explainFailure(monitor, status);
    await received;
    onProgress?.(totalBytes, totalBytes);
  } finally {
    watch.close();
    server.close();
  }
}

async function explainFailure(monitor: Monitor, status: string): Promise<QmError> {
  const { "error-desc": words } = await monitor.execute("query-migrate");
  return new QmError("QM_OPERATION_FAILED", { operation: what, reason: words ?? `QEMU's migration ${status}` });
}

async function listen(path: string): Promise<Server> {
  await rm(path, { force: true });
  const server = createServer();
  try {
    server.listen(path);
    await once(server, "listening");
    await chmod(path, 0o600);
    return server;
  } catch (error) {
    server.close();
    throw new QmError("QM_IO", { what: "listening on", path, reason: errorText(error) }, { cause: error });
  }
}

/** Takes one connection and writes what comes to the file, until its end. Closes it when the file cannot be written. */
async function receiveInto(file: NewMemoryFile, server: Server, onBytes: (doneBytes: number) => void): Promise<void> {
  const [socket] = (await once(server, "connection")) as [Socket];
  let doneBytes = 0;
  let toldBytes = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    await file.write(chunk);
    doneBytes += chunk.length;
    if (doneBytes - toldBytes < progressStepBytes) continue;
    toldBytes = doneBytes;
    onBytes(doneBytes);
  }
}
