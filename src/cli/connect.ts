/** The way to the daemon: its socket, and a daemon of our own when none listens there. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, renameSync, statSync, watch } from "node:fs";
import { connect } from "node:net";
import { dirname, resolve } from "node:path";
import { errorText, QmError } from "../base/errors.ts";
import { ApiError, asErrorBody } from "../client/api-error.ts";
import { daemonLogPath, findDaemonPaths, type DaemonPaths } from "../client/daemon-paths.ts";
import type { Transport } from "../client/transport.ts";
import { openUnixTransport, type UnixTransport } from "../client/unix-transport.ts";
import type { CliIo } from "./io.ts";

/** A daemon that we start ends after this long without work, as libvirt's session daemon does. */
const idleTimeoutS = 120;
/** Recovery of operations that were cut off may be part of a start. */
const startTimeoutMs = 60_000;
/** For another client's daemon, once its lock is held. */
const socketTimeoutMs = 10_000;
const maxLogBytes = 10 * 1024 * 1024;

/**
 * A transport to the daemon: to `socket` when given, otherwise to the usual one, where the first request starts a daemon when
 * none listens. Nothing is connected before the first request.
 */
export function openDaemonTransport(io: CliIo, socket: string | undefined): UnixTransport {
  if (socket !== undefined) return openUnixTransport(resolve(io.cwd, socket));
  const paths = findDaemonPaths(io.env, {}, { isRoot: process.getuid?.() === 0, cwd: io.cwd });
  const transport = openUnixTransport(paths.socketPath);
  const send: Transport = async (request) => {
    try {
      return await transport.send(request);
    } catch (error) {
      if (!isNobodyListening(error)) throw error;
      await ensureDaemon(io, paths);
      return transport.send(request);
    }
  };
  return { send, close: () => transport.close() };
}

/** These mean that the request did not leave: repeating it is safe. */
function isNobodyListening(error: unknown): boolean {
  return error instanceof ApiError && (error.fields["errno"] === "ENOENT" || error.fields["errno"] === "ECONNREFUSED");
}

async function ensureDaemon(io: CliIo, paths: DaemonPaths): Promise<void> {
  try {
    await startDaemon(io, paths);
  } catch (error) {
    // Another client's daemon was faster; it may still be on its way to its socket.
    if (!(error instanceof ApiError && error.code === "QM_DAEMON_RUNNING")) throw error;
    if (!(await waitForSocket(paths))) throw error;
  }
}

/** Resolves when the new daemon says that it is ready; rejects with its own error when it could not start. */
async function startDaemon(io: CliIo, paths: DaemonPaths): Promise<void> {
  const log = openLog(paths);
  try {
    const child = spawn(
      process.execPath,
      [
        io.daemonProgram,
        `--state-dir=${paths.stateDir}`,
        `--runtime-dir=${paths.runtimeDir}`,
        `--socket=${paths.socketPath}`,
        `--timeout=${idleTimeoutS}`,
      ],
      { detached: true, cwd: "/", env: io.env, stdio: ["ignore", log.descriptor, log.descriptor, "ipc"] },
    );
    await new Promise<void>((resolveStarted, reject) => {
      const fail = (reason: string) => {
        clearTimeout(timer);
        const detail = `the daemon did not start: ${reason}; its log is ${log.path}`;
        reject(new QmError("QM_DAEMON_UNREACHABLE", { path: paths.socketPath, reason: detail }));
      };
      const timer = setTimeout(() => fail(`no word from it for ${startTimeoutMs} ms`), startTimeoutMs);
      child.once("message", (report: unknown) => {
        clearTimeout(timer);
        const error =
          typeof report === "object" && report !== null && "error" in report ? asErrorBody(report.error) : undefined;
        if (error === undefined) resolveStarted();
        else reject(new ApiError(error, 0));
      });
      child.once("error", (error) => fail(error.message));
      child.once("exit", (code, signal) => fail(signal === null ? `exit code ${code}` : `killed by ${signal}`));
    });
    if (child.connected) child.disconnect();
    child.unref();
  } finally {
    closeSync(log.descriptor);
  }
}

function openLog(paths: DaemonPaths): { path: string; descriptor: number } {
  const path = daemonLogPath(paths);
  try {
    mkdirSync(paths.stateDir, { recursive: true, mode: 0o700 });
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > maxLogBytes) renameSync(path, `${path}.1`);
    return { path, descriptor: openSync(path, "a", 0o600) };
  } catch (error) {
    throw new QmError("QM_IO", { what: "opening", path, reason: errorText(error) }, { cause: error });
  }
}

/** Whether somebody accepts connections at the socket, now or soon: looked at again with each change in its directory. */
function waitForSocket(paths: DaemonPaths): Promise<boolean> {
  return new Promise((resolveWait) => {
    const end = (found: boolean) => {
      clearTimeout(timer);
      watcher.close();
      resolveWait(found);
    };
    const probe = () => {
      const socket = connect(paths.socketPath);
      socket.once("error", () => undefined);
      socket.once("connect", () => {
        socket.destroy();
        end(true);
      });
    };
    const timer = setTimeout(() => end(false), socketTimeoutMs);
    const watcher = watch(dirname(paths.socketPath), probe);
    probe();
  });
}
