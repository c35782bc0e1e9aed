/** The servers of libvirt's protocol. They authenticate nobody: what they listen on must admit the operator alone. */
import { createServer, type Server } from "node:net";
import type { Logger } from "../../base/logger.ts";
import type { Facade } from "../../service/facade.ts";
import { Connection } from "./connection.ts";
import { JobTargets } from "./job-targets.ts";
import type { HostFacts } from "./served.ts";

/** More clients than this at a time are turned away, of each server. */
const maxClients = 500;

export interface RemoteServerOptions {
  readonly facade: Facade;
  readonly host: HostFacts;
  readonly logger: Logger;
}

/** Neither listens yet. */
export interface RemoteServers {
  readonly full: Server;
  /** Its clients change nothing. */
  readonly readOnly: Server;
  /** Listens no more, and hangs up on all clients; calls under way go on without them. */
  readonly close: () => Promise<void>;
}

export function createRemoteServers(options: RemoteServerOptions): RemoteServers {
  const connections = new Set<Connection>();
  const targets = new JobTargets();
  const create = (readOnly: boolean): Server => {
    const server = createServer((socket) => {
      const connection = new Connection({ ...options, targets, readOnly, socket });
      connections.add(connection);
      socket.once("close", () => connections.delete(connection));
    });
    server.maxConnections = maxClients;
    return server;
  };
  const [full, readOnly] = [create(false), create(true)];
  return {
    full,
    readOnly,
    async close() {
      const closed = [full, readOnly].map(
        // One that does not listen says so, which is what was wanted.
        (server) => new Promise<void>((resolve) => void server.close(() => resolve())),
      );
      for (const connection of connections) connection.destroy();
      await Promise.all(closed);
    },
  };
}
