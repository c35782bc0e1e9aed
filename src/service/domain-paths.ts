import { join } from "node:path";
import type { ImageChain } from "../model/image.ts";
import type { RuntimePaths } from "../qemu/command-line.ts";

/** Sockets, pid file and log of a domain's QEMU, below the runtime directory. Short: a UNIX socket's path has 108 bytes. */
export function domainPaths(runtimeDir: string, uuid: string, chains: Record<string, ImageChain> = {}): RuntimePaths {
  const directory = join(runtimeDir, "domains", uuid);
  return {
    qmpSocket: join(directory, "qmp.sock"),
    pidFile: join(directory, "qemu.pid"),
    logFile: join(directory, "qemu.log"),
    agentSocket: join(directory, "agent.sock"),
    chains,
  };
}
