/** Listening on the daemon's UNIX socket. */
import { chmodSync, lstatSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { errorText, QmError } from "../base/errors.ts";

/** What can be made to listen; resolves when it does. */
export interface Listener {
  listen(options: { readonly path: string }): Promise<unknown>;
}

/**
 * Makes `server` listen on `socketPath`, for this user alone (mode 0600). A socket that a dead daemon left is replaced; anything
 * else there is not. Throws `QM_DAEMON_RUNNING` when somebody answers there, otherwise `QM_IO`.
 */
export async function listenOnSocket(server: Listener, socketPath: string): Promise<void> {
  if (await isAnswered(socketPath)) throw new QmError("QM_DAEMON_RUNNING", { pid: "unknown", path: socketPath });
  // Never connectable by others, not even between bind and chmod. Not 0177: directories made meanwhile must stay usable.
  const umask = process.umask(0o077);
  try {
    if (lstatSync(socketPath, { throwIfNoEntry: false })?.isSocket() === true) rmSync(socketPath);
    await server.listen({ path: socketPath });
    chmodSync(socketPath, 0o600);
  } catch (error) {
    throw new QmError("QM_IO", { what: "listening on", path: socketPath, reason: errorText(error) }, { cause: error });
  } finally {
    process.umask(umask);
  }
}

function isAnswered(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
