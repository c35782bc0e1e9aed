/** Real QEMUs for tests: everything made here is gone after `close`. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DomainDefinition } from "../../src/model/domain.ts";
import { buildCommandLine, type RuntimePaths } from "../../src/qemu/command-line.ts";
import type { QemuIdentity } from "../../src/qemu/identity.ts";
import { connectMonitor, type Monitor } from "../../src/qemu/monitor.ts";
import { stopQemu } from "../../src/qemu/process.ts";
import { startQemu } from "../../src/qemu/start.ts";

export class QemuRig {
  readonly directory = mkdtempSync(join(tmpdir(), "qmirror-rig-"));
  readonly #undo: (() => Promise<unknown>)[] = [];

  path(name: string): string {
    return join(this.directory, name);
  }

  /** `qemu-img create`. `backing` is written into the header as given. */
  createImage(name: string, format: "qcow2" | "raw" = "qcow2", backing?: string, size = "16M"): string {
    const below = backing === undefined ? [] : ["-F", "qcow2", "-b", backing];
    execFileSync("qemu-img", ["create", "-q", "-f", format, ...below, this.path(name), size], { cwd: this.directory });
    return this.path(name);
  }

  async start(def: DomainDefinition, paths: RuntimePaths, signal?: AbortSignal): Promise<QemuIdentity> {
    const commandLine = buildCommandLine(def, paths);
    const identity = await startQemu({ def, commandLine, paths, ...(signal === undefined ? {} : { signal }) });
    this.#undo.push(() => stopQemu(identity, { force: true }));
    return identity;
  }

  async connect(path: string): Promise<Monitor> {
    const monitor = await connectMonitor(path);
    this.#undo.push(() => monitor.close());
    return monitor;
  }

  /** A QEMU as somebody else would start it, with these arguments; its working directory is ours. */
  async startForeign(args: readonly string[]): Promise<Monitor> {
    const socket = this.path(`foreign-${this.#undo.length}.sock`);
    const base = ["-machine", "q35,accel=tcg", "-nodefaults", "-display", "none", "-S", "-m", "32"];
    // `wait=on`: QEMU prints a line when it listens.
    const monitor = ["-chardev", `socket,id=q,path=${socket},server=on,wait=on`, "-mon", "chardev=q,mode=control"];
    const child = spawn("qemu-system-x86_64", [...monitor, ...base, ...args], {
      cwd: this.directory,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#undo.push(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    });
    const listening = Promise.withResolvers<void>();
    let said = "";
    child.stderr.on("data", (chunk) => {
      said += String(chunk);
      if (said.includes("waiting for connection")) listening.resolve();
    });
    const ended = once(child, "close").then(() => Promise.reject(new Error(`QEMU ended: ${said}`)));
    ended.catch(() => undefined);
    return Promise.race([listening.promise.then(() => this.connect(socket).catch(() => ended)), ended]);
  }

  async close(): Promise<void> {
    for (const undo of this.#undo.reverse()) await undo();
    rmSync(this.directory, { recursive: true });
  }
}
