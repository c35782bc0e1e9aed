/** The daemon's options: from the command line, the environment and the defaults, in that order. */
import { parseArgs } from "node:util";
import { errorText, QmError } from "../base/errors.ts";
import { findDaemonPaths, type DaemonPaths } from "../client/daemon-paths.ts";

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

export interface DaemonConfig extends DaemonPaths {
  readonly logLevel: LogLevel;
  /** Ends by itself after this long without clients, running operations and running domains; absent: never. */
  readonly idleTimeoutMs?: number;
}

export type DaemonCommand =
  { readonly kind: "run"; readonly config: DaemonConfig } | { readonly kind: "help" } | { readonly kind: "version" };

interface DaemonOption {
  readonly type: "string" | "boolean";
  /** What stands for the value in the usage and the reference. */
  readonly value?: string;
  readonly text: string;
}

/** Parsed, printed by `--help`, and described in the reference. */
export const daemonOptions = {
  "state-dir": { type: "string", value: "DIR", text: "domains and journal (QMIRROR_STATE_DIR)" },
  "runtime-dir": { type: "string", value: "DIR", text: "sockets and pid files (QMIRROR_RUNTIME_DIR)" },
  socket: { type: "string", value: "PATH", text: "socket that clients connect to (QMIRROR_SOCKET)" },
  "log-level": { type: "string", value: "LEVEL", text: `${logLevels.join(", ")} (default: info)` },
  timeout: {
    type: "string",
    value: "SECONDS",
    text: "end after this long without clients, running operations and running domains",
  },
  version: { type: "boolean", text: "print the version" },
  help: { type: "boolean", text: "print this help" },
} as const satisfies Readonly<Record<string, DaemonOption>>;

export const daemonUsage = `Usage: qmirrord [options]

Runs qmirror's daemon in the foreground, logging to stderr.

Options:
${Object.entries<DaemonOption>(daemonOptions)
  .map(([name, { value = "", text }]) => `  ${`--${name} ${value}`.padEnd(20)} ${text}\n`)
  .join("")}`;

/** Longest path that fits a UNIX socket's address on Linux. */
const maxSocketPathBytes = 107;
const maxTimeoutS = 2_000_000;

/** Reads `argv` (without program names). Throws `QM_INVALID` with the option in question. */
export function parseDaemonCommand(argv: readonly string[], env: NodeJS.ProcessEnv): DaemonCommand {
  const options = parseOptions(argv);
  if (options.help === true) return { kind: "help" };
  if (options.version === true) return { kind: "version" };
  const paths = findDaemonPaths(env, {
    ...(options["state-dir"] === undefined ? {} : { stateDir: options["state-dir"] }),
    ...(options["runtime-dir"] === undefined ? {} : { runtimeDir: options["runtime-dir"] }),
    ...(options.socket === undefined ? {} : { socketPath: options.socket }),
  });
  if (Buffer.byteLength(paths.socketPath) > maxSocketPathBytes) {
    const reason = `the socket's path ${paths.socketPath} is longer than ${maxSocketPathBytes} bytes: choose another with --socket`;
    throw new QmError("QM_INVALID", { reason });
  }
  const logLevel = logLevels.find((level) => level === (options["log-level"] ?? "info"));
  if (logLevel === undefined) {
    throw new QmError("QM_INVALID", { reason: `--log-level must be one of ${logLevels.join(", ")}` });
  }
  const idleTimeoutMs = parseTimeout(options.timeout);
  return { kind: "run", config: { ...paths, logLevel, ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }) } };
}

function parseOptions(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: daemonOptions }).values;
  } catch (error) {
    throw new QmError("QM_INVALID", { reason: errorText(error) }, { cause: error });
  }
}

function parseTimeout(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = Number(text);
  if (!/^[0-9]+$/.test(text) || seconds === 0 || seconds > maxTimeoutS) {
    throw new QmError("QM_INVALID", { reason: `--timeout must be a number of seconds from 1 to ${maxTimeoutS}` });
  }
  return seconds * 1000;
}
