/** Where a daemon on this machine keeps its state and its socket: the rule that the daemon and its local clients share. */
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";

export interface DaemonPaths {
  /** Domains, journal, lock, log. */
  readonly stateDir: string;
  /** Sockets and pid files. */
  readonly runtimeDir: string;
  readonly socketPath: string;
}

/**
 * `given` (options) wins over the environment (`QMIRROR_STATE_DIR`, `QMIRROR_RUNTIME_DIR`, `QMIRROR_SOCKET`), and that over the
 * defaults: `/var/lib/qmirror` and `/run/qmirror` for root, the XDG directories otherwise. A state directory of one's own has its
 * runtime directory inside, so that two daemons never share a socket by accident. Relative XDG paths are ignored, as the XDG
 * specification says; other relative paths are resolved against `cwd`.
 */
export function findDaemonPaths(
  env: Readonly<Record<string, string | undefined>>,
  given: Partial<DaemonPaths> = {},
  system: { isRoot: boolean; cwd: string } = { isRoot: process.getuid?.() === 0, cwd: process.cwd() },
): DaemonPaths {
  const chosen = (option: string | undefined, name: string) => {
    const path = option ?? (env[name] || undefined);
    return path === undefined ? undefined : resolve(system.cwd, path);
  };
  const ownState = chosen(given.stateDir, "QMIRROR_STATE_DIR");
  const stateDir = ownState ?? defaultStateDir(env, system.isRoot);
  const runtimeDir =
    chosen(given.runtimeDir, "QMIRROR_RUNTIME_DIR") ??
    (ownState === undefined ? defaultRuntimeDir(env, system.isRoot) : undefined) ??
    join(stateDir, "run");
  return {
    stateDir,
    runtimeDir,
    socketPath: chosen(given.socketPath, "QMIRROR_SOCKET") ?? join(runtimeDir, "qmirror.sock"),
  };
}

/** The log of a daemon that a client started. */
export function daemonLogPath(paths: DaemonPaths): string {
  return join(paths.stateDir, "qmirrord.log");
}

function defaultStateDir(env: Readonly<Record<string, string | undefined>>, isRoot: boolean): string {
  if (isRoot) return "/var/lib/qmirror";
  const xdg = env["XDG_STATE_HOME"];
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(env["HOME"] || homedir(), ".local/state"), "qmirror");
}

function defaultRuntimeDir(env: Readonly<Record<string, string | undefined>>, isRoot: boolean): string | undefined {
  if (isRoot) return "/run/qmirror";
  const xdg = env["XDG_RUNTIME_DIR"];
  return xdg !== undefined && isAbsolute(xdg) ? join(xdg, "qmirror") : undefined;
}
