/** What the demo plays on: a temporary directory, a daemon process of its own and a guest. Everything goes when it ends. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { QmirrorClient } from "../../src/client/index.ts";
import { openUnixTransport, type UnixTransport } from "../../src/client/unix-transport.ts";
import { identifyByPidFile } from "../../src/qemu/identity.ts";
import { stopQemu } from "../../src/qemu/process.ts";

const daemonProgram = fileURLToPath(new URL("../../src/daemon/main.ts", import.meta.url));
const stopTimeoutMs = 10_000;

export class Stage {
  readonly directory: string;
  readonly client: QmirrorClient;
  readonly #transport: UnixTransport;
  #daemon: ChildProcess | undefined;

  private constructor(directory: string) {
    this.directory = directory;
    this.#transport = openUnixTransport(join(directory, "run", "qmirror.sock"));
    this.client = new QmirrorClient(this.#transport.send);
  }

  static async create(): Promise<Stage> {
    return new Stage(await mkdtemp(join(tmpdir(), "qmirror-demo-")));
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  /** The real daemon, with state and sockets of its own. Resolves with its pid when it answers. */
  async startDaemon(signal: AbortSignal): Promise<number> {
    await mkdir(this.path("run"));
    const log = openSync(this.path("qmirrord.log"), "a");
    try {
      const args = [daemonProgram, "--state-dir", this.path("state"), "--runtime-dir", this.path("run")];
      // In a session of its own: Ctrl-C is for the demo, which then stops the daemon in good order
      const daemon = spawn(process.execPath, args, { detached: true, stdio: ["ignore", log, log, "ipc"] });
      this.#daemon = daemon;
      const report: unknown = (
        await Promise.race([once(daemon, "message", { signal }), once(daemon, "exit", { signal })])
      )[0];
      if (typeof report !== "object" || report === null || !("ready" in report)) {
        throw new Error(`the daemon did not start: ${JSON.stringify(report)}`);
      }
      return daemon.pid ?? 0;
    } finally {
      closeSync(log);
    }
  }

  /** Ends the guest and the daemon, and removes the directory. Ends what is still there even when a part fails. */
  async close(): Promise<void> {
    try {
      await this.#endDomains();
    } finally {
      this.#transport.close();
      await this.#stopDaemon();
      await this.#endStrayQemus();
      await rm(this.directory, { recursive: true, force: true });
    }
  }

  async #endDomains(): Promise<void> {
    if (this.#daemon === undefined || this.#daemon.exitCode !== null) return;
    for (const { name } of await this.client.listDomains()) await this.client.destroyDomain(name);
  }

  async #stopDaemon(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined || daemon.exitCode !== null || daemon.signalCode !== null) return;
    const exit = once(daemon, "exit");
    daemon.kill("SIGTERM");
    const timer = setTimeout(() => daemon.kill("SIGKILL"), stopTimeoutMs);
    await exit;
    clearTimeout(timer);
  }

  /** Only when the daemon could not do it: a QEMU outlives its daemon. */
  async #endStrayQemus(): Promise<void> {
    for (const uuid of await readdir(this.path("run", "domains")).catch(() => [])) {
      const paths = {
        pidFile: this.path("run", "domains", uuid, "qemu.pid"),
        qmpSocket: this.path("run", "domains", uuid, "qmp.sock"),
      };
      const identity = await identifyByPidFile(paths, uuid);
      if (identity !== undefined) {
        await stopQemu(identity, { force: true, signal: AbortSignal.timeout(stopTimeoutMs) });
      }
    }
  }
}
