/** A server on a UNIX socket whose path a test need not choose. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SocketServer {
  readonly path: string;
  close(): Promise<void>;
}

/** Without `path`, in a new directory below the temporary one; `close` removes it, and destroys the connections that are left. */
export async function serveSocket(
  path: string | undefined,
  onConnection: (socket: Socket) => void,
): Promise<SocketServer> {
  const directory = path === undefined ? await mkdtemp(join(tmpdir(), "qmirror-fake-")) : undefined;
  const listenPath = path ?? join(directory ?? "", "monitor.sock");
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket);
  });
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen(listenPath, listening.resolve);
  await listening.promise;
  return {
    path: listenPath,
    close: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      for (const socket of sockets) socket.destroy();
      await closed.promise;
      if (directory !== undefined) await rm(directory, { recursive: true, force: true });
    },
  };
}
