/** A domain without a guest, its images, its daemon and its writer, below one temporary directory. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runQemuImg } from "../src/image/run-qemu-img.ts";
import { DaemonHandle } from "./daemon-handle.ts";
import { diskBytes, writePattern } from "./records.ts";
import type { Layout } from "./layout.ts";
import { Writer } from "./writer.ts";

export const domainName = "crash";

export class Machine {
  readonly directory: string;
  readonly disks: number;
  readonly writer: Writer;
  readonly path = (...names: readonly string[]): string => join(this.directory, ...names);
  #daemon: DaemonHandle | undefined;

  private constructor(directory: string, layouts: readonly Layout[]) {
    this.directory = directory;
    this.disks = layouts.length;
    this.writer = new Writer(this.path("eye"), layouts.length);
  }

  /** Makes the images, starts the daemon, then the domain, and waits until it is written to. */
  static async create(layouts: readonly Layout[]): Promise<Machine> {
    const machine = new Machine(await mkdtemp(join(tmpdir(), "qmirror-crash-")), layouts);
    try {
      for (const name of ["state", "run", "source", "target", "scratch"]) await mkdir(machine.path(name));
      await writeFile(machine.path("bios"), stillBios());
      const images = await Promise.all(layouts.map((layout, disk) => machine.#makeImage(layout, disk)));
      await machine.startDaemon();
      await machine.daemon.call("defineDomain", machine.#xml(images));
      await machine.daemon.call("startDomain", domainName);
      await machine.writer.awaitMore(machine.disks * 3, AbortSignal.timeout(20_000));
      return machine;
    } catch (error) {
      await machine.remove();
      throw error;
    }
  }

  get daemon(): DaemonHandle {
    if (this.#daemon === undefined) throw new Error("no daemon was started");
    return this.#daemon;
  }

  /** `onPid` is called as soon as it is a process. */
  async startDaemon(onPid?: (daemon: DaemonHandle) => void): Promise<void> {
    await DaemonHandle.start(this.path("state"), this.path("run"), (daemon) => {
      this.#daemon = daemon;
      onPid?.(daemon);
    });
  }

  /** The last that QEMU said. */
  async readQemuLog(): Promise<string> {
    const logs = (await readdir(this.path("run", "domains"))).map((uuid) =>
      this.path("run", "domains", uuid, "qemu.log"),
    );
    const texts = await Promise.all(logs.map((path) => readFile(path, "latin1").catch(() => "")));
    return texts.join("").slice(-1000);
  }

  /** Processes whose command line names the directory, without the daemon. */
  async processes(): Promise<{ pid: number; command: string }[]> {
    const found = [];
    for (const name of await readdir("/proc")) {
      const pid = Number(name);
      if (!(pid > 0) || pid === this.#daemon?.pid) continue;
      const command = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
      if (command.includes(this.directory)) found.push({ pid, command: command.replaceAll("\0", " ") });
    }
    return found;
  }

  /** All that was started and written is gone. */
  async remove(): Promise<void> {
    if (this.#daemon?.isDead === false) await this.#daemon.kill();
    await this.writer.stop();
    for (const { pid } of await this.processes()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has just ended by itself.
      }
    }
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }

  async #makeImage(layout: Layout, disk: number): Promise<{ path: string; format: string }> {
    const stem = this.path("source", `vd${String.fromCharCode(97 + disk)}`);
    const raw = `${stem}.raw`;
    await writePattern(raw, disk);
    const path = `${stem}.qcow2`;
    if (layout === "based") {
      const args = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, path, String(diskBytes)];
      await runQemuImg(args, { path });
    } else {
      await runQemuImg(["convert", "-f", "raw", "-O", "qcow2", raw, path], { path });
      await rm(raw);
    }
    return { path, format: "qcow2" };
  }

  #xml(images: readonly { path: string; format: string }[]): string {
    const disks = images.map(
      ({ path, format }, disk) => `<disk type='file' device='disk'><driver name='qemu' type='${format}'/>
        <source file='${path}'/><target dev='vd${String.fromCharCode(97 + disk)}' bus='virtio'/></disk>`,
    );
    return `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>${domainName}</name>
      <memory unit='MiB'>32</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>
      <devices>${disks.join("")}</devices>
      <qemu:commandline><qemu:arg value='-qmp'/>
        <qemu:arg value='unix:${this.path("eye")},server=on,wait=off'/>
        <qemu:arg value='-bios'/><qemu:arg value='${this.path("bios")}'/></qemu:commandline></domain>`;
  }
}

/** A machine that is running and does nothing, at no cost: `cli; hlt` where the processor begins. */
function stillBios(): Buffer {
  const bios = Buffer.alloc(64 * 1024);
  bios.set([0xfa, 0xf4, 0xeb, 0xfd], bios.length - 16);
  return bios;
}
