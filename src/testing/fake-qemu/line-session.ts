/** One client's side of a monitor: JSON lines in, handled one after the other as a monitor does, and lines out. */
import type { Socket } from "node:net";
import { LineDecoder, defaultMaxLineBytes } from "../../qmp/framing.ts";

export interface LineSession {
  send(message: unknown): void;
  /** As it is: a number beyond 2^53 would not survive parsing. */
  sendLine(line: string): void;
  /** Closes after what was sent, and ignores what still comes. */
  end(): void;
  destroy(): void;
}

/** `handle` is called for each line when the call before it has finished; what it throws ends the session. */
export function startLineSession(
  socket: Socket,
  handle: (line: string, session: LineSession) => Promise<void>,
): LineSession {
  const decoder = new LineDecoder(defaultMaxLineBytes);
  let ended = false;
  let queue = Promise.resolve();
  const session: LineSession = {
    send: (message) => session.sendLine(JSON.stringify(message)),
    sendLine: (line) => void (ended || socket.write(`${line}\r\n`)),
    end: () => {
      ended = true;
      socket.destroySoon();
    },
    destroy: () => {
      ended = true;
      socket.destroy();
    },
  };
  const step = async (line: string): Promise<void> => {
    if (ended) return;
    try {
      await handle(line, session);
    } catch {
      session.destroy();
    }
  };
  // A client that goes away is everyday business here.
  socket.on("error", () => session.destroy());
  socket.on("close", () => session.destroy());
  socket.on("data", (chunk) => {
    try {
      for (const line of decoder.push(chunk as Uint8Array)) queue = queue.then(() => step(line));
    } catch {
      session.destroy();
    }
  });
  return session;
}
