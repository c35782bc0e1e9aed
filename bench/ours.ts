/** qmirror as its users have it: a daemon process, reached over its UNIX socket. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { QmirrorClient } from "../src/client/client.ts";
import { openUnixTransport } from "../src/client/unix-transport.ts";
import type { StartReport } from "../src/daemon/daemon-process.ts";
import type { Contender, Guest } from "./contender.ts";

const program = fileURLToPath(new URL("../src/daemon/main.ts", import.meta.url));
const snapshot = "s1";

/** Starts a daemon whose state, sockets and log are in `directory`, which exists. */
export async function openOurs(directory: string): Promise<Contender> {
  const daemon = await startDaemon(directory);
  const transport = openUnixTransport(join(directory, "run", "qmirror.sock"));
  const client = new QmirrorClient(transport.send);
  const running = new Set<string>();
  const destroy = async (name: string): Promise<void> => {
    running.delete(name);
    await client.destroyDomain(name);
  };
  return {
    name: "ours",
    async boot(guest) {
      await client.createDomain(guest.xml);
      running.add(guest.name);
    },
    async create(guest) {
      await client.createSnapshot(guest.name, { name: snapshot, diskspecs: diskspecs(guest) });
    },
    async pivot(guest) {
      await client.endMirrors(guest.name, snapshot, "pivot");
    },
    destroy: (guest) => destroy(guest.name),
    async close() {
      try {
        await Promise.all([...running].map(destroy));
      } finally {
        transport.close();
        await stopDaemon(daemon);
      }
    },
  };
}

function diskspecs({ disks }: Guest): string[] {
  return disks.map(({ target, overlay, mirror }) => `${target},snapshot=external,file=${overlay},mirror=${mirror}`);
}

export async function startDaemon(directory: string): Promise<ChildProcess> {
  const log = await open(join(directory, "daemon.log"), "a");
  const places = ["--state-dir", join(directory, "state"), "--runtime-dir", join(directory, "run")];
  const daemon = spawn(process.execPath, [program, ...places, "--log-level", "warn"], {
    // A Ctrl-C at the terminal is for the benchmark, which then needs the daemon to end its guests.
    detached: true,
    stdio: ["ignore", "ignore", log.fd, "ipc"],
  });
  await log.close();
  const ended = once(daemon, "exit").then(() => [{ error: { message: "it ended" } }]);
  const [report] = (await Promise.race([once(daemon, "message"), ended])) as [StartReport];
  if ("error" in report) throw new Error(`the daemon did not start: ${report.error.message}`);
  return daemon;
}

export async function stopDaemon(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  const ended = once(daemon, "exit");
  daemon.kill("SIGTERM");
  await ended;
}
