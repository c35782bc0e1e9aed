/** A daemon from its directories to its socket, and back. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { errorText, QmError } from "../base/errors.ts";
import { readPackageVersion } from "../client/package-version.ts";
import { buildServer } from "../http/server.ts";
import { listenForLibvirt } from "./libvirt-sockets.ts";
import type { Compose } from "./composition.ts";
import type { DaemonConfig } from "./config.ts";
import { watchIdleness } from "./idle-exit.ts";
import { listenOnSocket } from "./listen.ts";
import { lockStateDir } from "./lock.ts";

/** How long requests under way may take to end once the daemon stops. Their operations are in the journal. */
const graceMs = 5000;

export interface RunningDaemon {
  /** Stops accepting, ends the streams, closes the facade, releases the lock. QEMUs run on. Idempotent. */
  stop(): Promise<void>;
  /** Resolves when it has stopped, by `stop` or by idleness; rejects when stopping failed. */
  readonly stopped: Promise<void>;
}

/** Starts a daemon; when this resolves, clients can connect. A failed start undoes what it did and rejects with a `QmError`. */
export async function runDaemon(config: DaemonConfig, compose: Compose, logger: Logger): Promise<RunningDaemon> {
  await using undo = new AsyncDisposableStack();
  for (const path of [config.stateDir, config.runtimeDir, dirname(config.socketPath)]) makePrivateDirectory(path);
  const lock = lockStateDir(config.stateDir);
  undo.defer(() => lock.release());
  const composition = await compose(config, logger);
  undo.defer(() => composition.close());
  const version = readPackageVersion();
  const server = buildServer({ facade: composition.facade, logger, version });
  undo.defer(() => closeServer(server));
  await server.ready();
  await listenOnSocket(server, config.socketPath);
  const libvirt = await listenForLibvirt({ facade: composition.facade, runtimeDir: config.runtimeDir, logger });
  undo.defer(() => libvirt.close());

  const { promise: stopped, resolve, reject } = Promise.withResolvers<void>();
  const cleanup = undo.move();
  let stopping = false;
  const stop = () => {
    if (!stopping) {
      stopping = true;
      logger.info("stopping");
      cleanup.disposeAsync().then(resolve, reject);
    }
    return stopped;
  };
  if (config.idleTimeoutMs !== undefined) {
    const idleness = watchIdleness(
      [server.server, ...libvirt.servers],
      composition.facade,
      config.idleTimeoutMs,
      () => {
        logger.info("nobody needs this daemon");
        // A failure reaches whoever waits for `stopped`.
        stop().catch(() => undefined);
      },
    );
    cleanup.defer(() => idleness.stop());
  }
  logger.info({ version, socket: config.socketPath, stateDir: config.stateDir }, "ready");
  return { stop, stopped };
}

async function closeServer(server: FastifyInstance): Promise<void> {
  const timer = setTimeout(() => server.server.closeAllConnections(), graceMs);
  try {
    await server.close();
  } finally {
    clearTimeout(timer);
  }
}

function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new QmError("QM_IO", { what: "creating", path, reason: errorText(error) }, { cause: error });
  }
}
