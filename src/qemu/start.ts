/** Starts QEMU so that it outlives us. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { watch } from "node:fs";
import { chmod, mkdir, open, rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { throwIfAborted, withLimits } from "../base/abort.ts";
import { errorText, isQmError, QmError } from "../base/errors.ts";
import type { DomainDefinition } from "../model/domain.ts";
import { chooseEmulator, type RuntimePaths } from "./command-line.ts";
import { identifyByPidFile, readStartTime, type QemuIdentity } from "./identity.ts";
import { openMemoryFile } from "./memory-file.ts";
import { watchMigration } from "./migration.ts";
import { connectMonitor, type Monitor } from "./monitor.ts";

export interface StartOptions {
  readonly def: DomainDefinition;
  /** From `buildCommandLine`. */
  readonly commandLine: readonly string[];
  /** QEMU's environment, below the definition's `qemuEnv`; absent: PATH and HOME of ours, and `LC_ALL=C`. */
  readonly env?: Readonly<Record<string, string>>;
  readonly paths: RuntimePaths;
  /** A memory file (`saveMemory`) that the guest goes on from. Its own devices have to be those of `commandLine`. */
  readonly incoming?: { readonly path: string };
  /** The guest stands still until `cont`. */
  readonly paused?: boolean;
  /** Bounds the start; without it a QEMU that hangs while it opens its images is waited for for ever. */
  readonly signal?: AbortSignal;
}

/**
 * Starts QEMU in a session of its own, with no descriptor of ours but the log file and the memory file, and waits until its monitor
 * answers: every device is realized, every image open and the memory loaded then. Its directories are made with mode 0700 where
 * missing, its sockets are 0600. Rejects with `QM_QEMU_START` (QEMU's words in `reason`, also about a memory that does not fit),
 * `QM_CANCELLED`, `QM_DOMAIN_RUNNING`, or as `readMemoryFile`; no process is left behind.
 *
 * Not `-daemonize`: it forks after `-sandbox …spawn=deny` has forbidden that.
 */
export async function startQemu(options: StartOptions): Promise<QemuIdentity> {
  const { def, paths, signal } = options;
  throwIfAborted(signal, "the start of QEMU");
  if ((await identifyByPidFile(paths, def.uuid)) !== undefined) {
    throw new QmError("QM_DOMAIN_RUNNING", { domain: def.name });
  }
  for (const path of [paths.qmpSocket, paths.pidFile, paths.logFile, paths.agentSocket]) {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  }
  // Left by a QEMU that was killed: they must not be taken for those of the new one.
  for (const path of [paths.qmpSocket, paths.pidFile]) await rm(path, { force: true });

  const log = await open(paths.logFile, "a", 0o600);
  const logStartBytes = (await log.stat()).size;
  const stop = new AbortController();
  let child: ChildProcess | undefined;
  let memory: Awaited<ReturnType<typeof openMemoryFile>> | undefined;
  try {
    if (options.incoming !== undefined) memory = await openMemoryFile(options.incoming.path);
    const ready = watchFor(paths.qmpSocket, stop.signal).then(() => awaitReady(options, stop.signal));
    ready.catch(() => undefined); // heard below, unless spawning throws
    child = spawnQemu(options, log.fd, memory?.file.fd);
    await withLimits("the start of QEMU", Promise.race([ready, watchEnd(child, stop.signal)]), { signal });
    for (const path of socketsOf(def, paths)) await chmod(path, 0o600);
    return identify(child, def, paths);
  } catch (error) {
    if (child !== undefined) await endChild(child);
    if (isQmError(error, "QM_CANCELLED") || (options.incoming !== undefined && memory === undefined)) throw error;
    const words = await readLog(paths.logFile, logStartBytes);
    const reason = words === "" ? errorText(error) : words;
    throw new QmError("QM_QEMU_START", { domain: def.name, reason, log: paths.logFile }, { cause: error });
  } finally {
    stop.abort();
    await log.close();
    await memory?.file.close();
  }
}

/** Descriptor of the memory file in QEMU. */
const memoryFd = 3;

function spawnQemu(options: StartOptions, logFd: number, memoryFile: number | undefined): ChildProcess {
  const { def, commandLine, env, paused = false } = options;
  const own = { LC_ALL: "C", PATH: process.env["PATH"], HOME: process.env["HOME"] };
  const isIncoming = memoryFile !== undefined;
  const args = [
    ...commandLine,
    ...(isIncoming ? ["-incoming", "defer"] : []),
    // Whether a loaded guest runs would otherwise depend on what it did when it was saved.
    ...(paused || isIncoming ? ["-S"] : []),
  ];
  const child = spawn(chooseEmulator(def), args, {
    cwd: "/",
    detached: true,
    env: { ...(env ?? own), ...def.qemuEnv },
    stdio: ["ignore", logFd, logFd, ...(isIncoming ? [memoryFile] : [])],
  });
  child.unref();
  return child;
}

/** Resolves when `path` has been made. Watches from the moment of the call. */
function watchFor(path: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    watch(dirname(path), { signal }, (_, name) => {
      if (name === basename(path)) resolve();
    }).on("error", reject);
  });
}

/** Resolves when QEMU executes commands: it accepts connections earlier, while it still opens its images. */
async function awaitReady({ paths, incoming, paused = false }: StartOptions, signal: AbortSignal): Promise<void> {
  const monitor = await connectWhenListening(paths.qmpSocket, signal);
  try {
    await monitor.execute("query-status", undefined, { signal });
    if (incoming === undefined) return;
    await loadMemory(monitor, signal);
    if (!paused) await monitor.execute("cont", undefined, { signal });
  } finally {
    await monitor.close();
  }
}

/** QEMU ends itself when the stream does not fit: its log says why. */
async function loadMemory(monitor: Monitor, signal: AbortSignal): Promise<void> {
  const watch = watchMigration(monitor);
  try {
    await monitor.execute("migrate-set-capabilities", { capabilities: [{ capability: "events", state: true }] });
    await monitor.execute("migrate-incoming", { uri: `fd:${memoryFd}` }, { signal });
    const status = await withLimits("loading the memory", watch.ended, { signal });
    if (status !== "completed") throw new Error(`loading the memory ${status}`);
  } finally {
    watch.close();
  }
}

async function connectWhenListening(path: string, signal: AbortSignal): Promise<Monitor> {
  for (;;) {
    try {
      return await connectMonitor(path, { signal });
    } catch (error) {
      // Between bind() and listen() the file exists and refuses connections, and nothing tells of that moment's end. A QEMU that
      // opens its images for longer than a connection's deadline is just slow.
      if (!isRefused(error) && !isQmError(error, "QM_TIMEOUT")) throw error;
      await delay(5, undefined, { signal });
    }
  }
}

function isRefused(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ("code" in error && error.code === "ECONNREFUSED") || isRefused(error.cause);
}

async function watchEnd(child: ChildProcess, signal: AbortSignal): Promise<never> {
  const [code, killedBy] = (await once(child, "exit", { signal })) as [number | null, string | null];
  throw new Error(killedBy === null ? `it exited with status ${code}` : `it was ended by ${killedBy}`);
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

function socketsOf(def: DomainDefinition, paths: RuntimePaths): string[] {
  const serials = def.serials.filter(({ type }) => type === "unix").map(({ path }) => path);
  const agent = def.agentChannel === undefined ? [] : [def.agentChannel.path ?? paths.agentSocket];
  const vnc = def.graphics?.socket === undefined ? [] : [def.graphics.socket];
  return [paths.qmpSocket, ...serials, ...agent, ...vnc];
}

function identify(child: ChildProcess, def: DomainDefinition, paths: RuntimePaths): QemuIdentity {
  const startTimeTicks = child.pid === undefined ? undefined : readStartTime(child.pid);
  if (child.pid === undefined || startTimeTicks === undefined) throw new Error("it ended right after its start");
  return { pid: child.pid, startTimeTicks, qmpSocket: paths.qmpSocket, uuid: def.uuid };
}

/** What QEMU wrote since `fromBytes`, at most 4 KiB of its end. */
async function readLog(path: string, fromBytes: number): Promise<string> {
  const limitBytes = 4096;
  const log = await open(path, "r");
  try {
    const { size } = await log.stat();
    const position = Math.max(fromBytes, size - limitBytes);
    const { bytesRead, buffer } = await log.read({ buffer: Buffer.alloc(limitBytes), position });
    return buffer.toString("utf8", 0, bytesRead).trim();
  } finally {
    await log.close();
  }
}
