/** libvirt's protocol beside HTTP: one socket for everything, and one for reading only. */
import { once } from "node:events";
import type { Server } from "node:net";
import { join } from "node:path";
import type { Logger } from "../base/logger.ts";
import { createRemoteServers } from "../remote/index.ts";
import type { Facade } from "../service/facade.ts";
import { readHostFacts } from "./host-facts.ts";
import { listenOnSocket, type Listener } from "./listen.ts";

export const libvirtSocketName = "libvirt.sock";
export const libvirtReadOnlySocketName = "libvirt-ro.sock";

export interface LibvirtSockets {
  readonly servers: readonly Server[];
  /** Hangs up on all clients. */
  close(): Promise<void>;
}

/** Listens on both sockets in `runtimeDir`. A failed start leaves neither; errors are those of `listenOnSocket`. */
export async function listenForLibvirt(options: {
  readonly facade: Facade;
  readonly runtimeDir: string;
  readonly logger: Logger;
}): Promise<LibvirtSockets> {
  const { facade, runtimeDir, logger } = options;
  const { full, readOnly, close } = createRemoteServers({ facade, host: readHostFacts(), logger });
  try {
    await listenOnSocket(listenerOf(full), join(runtimeDir, libvirtSocketName));
    await listenOnSocket(listenerOf(readOnly), join(runtimeDir, libvirtReadOnlySocketName));
  } catch (error) {
    await close();
    throw error;
  }
  return { servers: [full, readOnly], close };
}

function listenerOf(server: Server): Listener {
  return {
    async listen({ path }) {
      server.listen(path);
      await once(server, "listening");
    },
  };
}
