/** A daemon in this process, domains without a guest on real QEMUs, and libvirt's own clients that talk to it. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { pino } from "pino";
import { compose } from "../../src/daemon/compose.ts";
import { libvirtReadOnlySocketName, libvirtSocketName } from "../../src/daemon/libvirt-sockets.ts";
import { runDaemon, type RunningDaemon } from "../../src/daemon/run-daemon.ts";
import { ServiceRig } from "../live/service-rig.ts";

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class VirshRig {
  /** Directories and images; its own service is not opened. */
  readonly files = new ServiceRig();
  #daemon: RunningDaemon | undefined;

  async open(): Promise<void> {
    const [stateDir, runtimeDir] = [this.path("state"), this.path("run")];
    const config = { stateDir, runtimeDir, socketPath: this.path("q.sock"), logLevel: "silent" } as const;
    this.#daemon = await runDaemon(config, compose, pino({ level: "silent" }));
  }

  path(...names: string[]): string {
    return this.files.path(...names);
  }

  write(name: string, text: string): string {
    writeFileSync(this.path(name), text);
    return this.path(name);
  }

  uri(readOnly = false): string {
    const socket = this.path("run", readOnly ? libvirtReadOnlySocketName : libvirtSocketName);
    return `qemu+unix:///system?socket=${socket}`;
  }

  /** A file with a domain without a guest, one disk for each name; its images are new. */
  domain(name: string, disks: readonly string[]): string {
    const images = disks.map((disk) => this.files.createImage(`${disk}.qcow2`));
    return this.write(`${name}.xml`, this.files.domainXml(name, images));
  }

  /** Runs virsh with the words of a line. */
  async virsh(line: string, readOnly = false): Promise<Said> {
    const words = ["-q", "-c", this.uri(readOnly), ...(readOnly ? ["-r"] : []), ...line.split(" ")];
    return await runProgram("virsh", words, this.files.directory);
  }

  /** A command that has to succeed; what it prints, without blanks around it. */
  async ok(line: string): Promise<string> {
    const { code, stdout, stderr } = await this.virsh(line);
    assert.equal(code, 0, `virsh ${line}: ${stderr}`);
    return stdout.trim();
  }

  /** The error of a command that has to fail. */
  async fails(line: string, readOnly = false): Promise<string> {
    const { code, stderr } = await this.virsh(line, readOnly);
    assert.equal(code, 1, `virsh ${line} succeeded`);
    return stderr.trim();
  }

  /** Runs a script for Debian's Python, whose `libvirt` module this is about; its lines. */
  async python(script: string): Promise<string[]> {
    const { code, stdout, stderr } = await runProgram("/usr/bin/python3", ["-c", script, this.uri()], this.path());
    assert.equal(code, 0, stderr);
    return stdout.trim().split("\n");
  }

  async close(): Promise<void> {
    try {
      const names = (await this.virsh("list --name")).stdout.split("\n").filter((name) => name !== "");
      for (const name of names) await this.virsh(`destroy ${name}`);
      await this.#daemon?.stop();
    } finally {
      await this.files.close();
    }
  }
}

function runProgram(program: string, args: readonly string[], cwd: string): Promise<Said> {
  const env = { ...process.env, LC_ALL: "C", TZ: "UTC" };
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { cwd, env, timeout: 30_000 }, (error, stdout, stderr) => {
      if (child.exitCode === null)
        reject(new Error(`${program} ${args.join(" ")}: ${error?.message ?? ""}\n${stdout}`));
      else resolve({ code: child.exitCode, stdout, stderr });
    });
  });
}
