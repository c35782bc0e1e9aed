/** A peer on a UNIX socket that does what a test's script says. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";

export interface Peer {
  readonly socket: Socket;
  /** The next line that the client sent, as an object; a byte 0xFF before it is left out. */
  read(): Promise<Record<string, unknown>>;
  send(...messages: object[]): void;
}

export const greeting = {
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 }, package: "" }, capabilities: ["oob"] },
};

export function event(name: string, data?: unknown): object {
  return { event: name, data, timestamp: { seconds: 10, microseconds: 500_000 } };
}

/** Serves every connection with `script`; ends with the test. Returns the socket's path. */
export async function servePeer(t: TestContext, script: (peer: Peer) => Promise<void> | void): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "qmirror-qmp-"));
  const sockets = new Set<Socket>();
  const running: Promise<void>[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    running.push(runScript(socket, script));
  });
  const path = join(directory, "monitor");
  server.listen(path);
  await once(server, "listening");
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, "close");
    await rm(directory, { recursive: true });
    await Promise.all(running);
  });
  return path;
}

/** Greets, grants the capabilities, then goes on with `script`. */
export function greetThen(script: (peer: Peer) => Promise<void> | void): (peer: Peer) => Promise<void> {
  return async (peer) => {
    peer.send(greeting);
    peer.send({ return: {}, id: (await peer.read())["id"] });
    await script(peer);
  };
}

class ClientGone extends Error {}

async function runScript(socket: Socket, script: (peer: Peer) => Promise<void> | void): Promise<void> {
  const reader = createInterface({ input: socket });
  socket.on("close", () => reader.close());
  const lines = reader[Symbol.asyncIterator]();
  try {
    await script({
      socket,
      async read() {
        const line = await lines.next();
        if (line.done === true) throw new ClientGone();
        return JSON.parse(line.value.replace("\ufffd", "")) as Record<string, unknown>;
      },
      send: (...messages) => void socket.write(messages.map((message) => JSON.stringify(message) + "\r\n").join("")),
    });
  } catch (error) {
    if (!(error instanceof ClientGone)) throw error;
  }
}
