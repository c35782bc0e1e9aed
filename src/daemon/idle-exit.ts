/** A daemon that a client started by itself ends by itself when nobody needs it, as libvirt's session daemon does. */
import type { Server, Socket } from "node:net";
import type { Facade } from "../service/facade.ts";

export interface IdleExit {
  stop(): void;
}

/**
 * Calls `onIdle` once when none of `servers` has had a connection for `timeoutMs` and no operation and no domain is running. The facade
 * is looked at again each `timeoutMs` while it is busy: nothing tells when the last of all these ends.
 */
export function watchIdleness(
  servers: readonly Server[],
  facade: Pick<Facade, "listDomains" | "listOperations">,
  timeoutMs: number,
  onIdle: () => void,
): IdleExit {
  let connections = 0;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  const arm = () => {
    clearTimeout(timer);
    if (!stopped && connections === 0) timer = setTimeout(() => void check(), timeoutMs);
  };
  const check = async () => {
    // A facade that cannot answer is not known to be idle.
    const busy = await isBusy(facade).catch(() => true);
    if (stopped || connections > 0) return;
    if (busy) return arm();
    stopped = true;
    onIdle();
  };

  const count = (socket: Socket): void => {
    connections += 1;
    clearTimeout(timer);
    socket.once("close", () => {
      connections -= 1;
      arm();
    });
  };
  for (const server of servers) server.on("connection", count);
  arm();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

async function isBusy(facade: Pick<Facade, "listDomains" | "listOperations">): Promise<boolean> {
  if ((await facade.listDomains()).some(({ state }) => state === "running" || state === "paused")) return true;
  return (await facade.listOperations({ running: true })).length > 0;
}
