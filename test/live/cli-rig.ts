/** A daemon in this process on a socket of its own, and the command line that talks to it: domains without a guest on real QEMUs. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { pino } from "pino";
import type { CliIo } from "../../src/cli/io.ts";
import { commandTable } from "../../src/cli/command-table.ts";
import { compose } from "../../src/daemon/compose.ts";
import { runDaemon, type RunningDaemon } from "../../src/daemon/run-daemon.ts";
import { connectMonitor, type Monitor } from "../../src/qemu/monitor.ts";
import { createIo, runCli } from "../cli/run-cli.ts";
import { ServiceRig, writeThroughDevice } from "./service-rig.ts";

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class CliRig {
  /** Directories, images and foreign QEMUs; its own service is not opened. */
  readonly files = new ServiceRig();
  /** Names of the commands that succeeded. */
  readonly succeeded = new Set<string>();
  #daemon: RunningDaemon | undefined;

  async open(): Promise<void> {
    const [stateDir, runtimeDir] = [this.path("state"), this.path("run")];
    const config = { stateDir, runtimeDir, socketPath: this.path("q.sock"), logLevel: "silent" } as const;
    this.#daemon = await runDaemon(config, compose, pino({ level: "silent" }));
  }

  path(...names: string[]): string {
    return this.files.path(...names);
  }

  save(name: string, text: string): string {
    writeFileSync(this.path(name), text);
    return this.path(name);
  }

  read(name: string): string {
    return readFileSync(this.path(name), "utf8");
  }

  exists(name: string): boolean {
    return existsSync(this.path(name));
  }

  /** A script for `$EDITOR`. */
  editor(name: string, sed: string): Readonly<Record<string, string | undefined>> {
    const path = this.save(name, `sed -i "$1" "$2"\n`);
    return { ...process.env, EDITOR: `sh ${path} '${sed}'` };
  }

  /** A domain without a guest: `vda` on virtio and, where an image is given, `sda` on SCSI, which can be plugged while it runs. */
  domain(name: string, vda: string, sda?: string): string {
    const virtio = this.files.domainXml(name, [vda]);
    const scsi = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${sda ?? ""}'/>
      <target dev='sda' bus='scsi'/></disk></devices>`;
    return this.save(`${name}.xml`, sda === undefined ? virtio : virtio.replace("</devices>", scsi));
  }

  /** Runs a command in the rig's directory. No output may show what only a programmer reads. */
  async run(argv: readonly string[], change: Partial<CliIo> = {}): Promise<Said> {
    const io = createIo({ cwd: this.files.directory, env: process.env, ...change });
    const said = await runCli(["-c", this.path("q.sock"), ...argv], io);
    const [name = ""] = argv;
    const text = said.stdout + said.stderr;
    const noise = /^ +at .*:\d+|(?<!been )undefined|\[object|NaN|QM_|internal error|\{"/m;
    if (!argv.includes("--json")) assert.doesNotMatch(text, noise, argv.join(" "));
    if (said.code === 0 && Object.hasOwn(commandTable, name)) this.succeeded.add(name);
    return said;
  }

  /** Runs a command line of words without blanks, which has to succeed; returns what it prints. */
  async ok(line: string, change: Partial<CliIo> = {}): Promise<string> {
    const said = await this.run(line.split(" "), change);
    assert.equal(said.code, 0, `${line}: ${said.stderr}`);
    return said.stdout;
  }

  /** The same for one that has to fail: its error, in one line, and what it says to do next, if anything. */
  async fails(line: string, code: 1 | 2 = 1, change: Partial<CliIo> = {}): Promise<string> {
    const said = await this.run(line.split(" "), change);
    assert.match(said.stderr, /^error: [^\n]+\n(next: [^\n]+\n)?$/, line);
    assert.deepEqual([said.code, said.stdout], [code, ""], `${line}: ${said.stderr}`);
    return said.stderr;
  }

  image(name: string, size = "8M"): string {
    return this.files.createImage(name, { size });
  }

  /** Defines the domain over new images, and starts it. */
  async define(name: string, disks: { sda?: boolean } = {}): Promise<void> {
    const vda = this.image(`${name}-a`);
    this.domain(name, vda, ...(disks.sda === true ? [this.image(`${name}-b`)] : []));
    await this.ok(`define ${name}.xml`);
    await this.ok(`start ${name}`);
  }

  /** The domain's second monitor has one client at a time, and its QEMU may be another one by the next time. */
  async look<T>(domain: string, act: (eye: Monitor) => Promise<T>): Promise<T> {
    const eye = await connectMonitor(this.path(`${domain}.eye`));
    try {
      return await act(eye);
    } finally {
      await eye.close();
    }
  }

  /** Writes 64 KiB to `vda`. */
  async write(domain: string, pattern: number, offsetKib: number): Promise<void> {
    await this.look(domain, (eye) => writeThroughDevice(eye, "vda", pattern, offsetKib));
  }

  /** What a command that ends only with Ctrl-C prints, until it has printed `last`. */
  async listen(line: string, last: RegExp): Promise<string> {
    let text = "";
    let interrupt: () => void = () => undefined;
    const write = (more: string): void => {
      text += more;
      if (last.test(text)) interrupt();
    };
    const onInterrupt = (handler: () => void) => {
      interrupt = handler;
      return () => undefined;
    };
    await this.ok(line, { stdout: { columns: 100, isTty: false, write }, onInterrupt });
    return text;
  }

  /** Paths of a domain's active images, in the order of its disks, as `domblklist` tells. */
  async sources(domain: string): Promise<string[]> {
    const rows = (await this.ok(`domblklist ${domain}`)).trimEnd().split("\n").slice(2);
    return rows.map((row) => row.trim().split(/ +/)[1] ?? "");
  }

  async close(): Promise<void> {
    try {
      for (const name of (await this.ok("list --name")).split("\n").filter((word) => word !== "")) {
        if ((await this.run(["detach", name])).code !== 0) await this.run(["destroy", name]);
      }
      await this.#daemon?.stop();
    } finally {
      await this.files.close();
    }
  }
}
