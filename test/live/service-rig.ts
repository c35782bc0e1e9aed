/** A service of its own over temporary directories, for domains without a guest and for QEMUs that somebody else started. */
import assert from "node:assert/strict";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DiskView, OperationView, SnapshotView } from "../../src/api-types/index.ts";
import { compose, stateFileName } from "../../src/daemon/compose.ts";
import { openStore } from "../../src/journal/store.ts";
import type { MirrorDialect } from "../../src/qemu/mirror-dialect/dialect.ts";
import { Service } from "../../src/service/service.ts";
import { connectMonitor, type Monitor } from "../../src/qemu/monitor.ts";
import type { Facade } from "../../src/service/facade.ts";
import { isQmError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/error-registry.ts";
import { startQmpProxy, type QmpProxy } from "../../src/testing/qmp-proxy.ts";
import { silentLogger } from "./witness-rig.ts";

/** A QEMU that the test started itself. `eye` is a second monitor: the first has one client at a time. */
export interface ForeignQemu {
  readonly socket: string;
  readonly pid: number;
  readonly eye: Monitor;
  kill(): Promise<void>;
}

/** Everything that an operation which is refused must leave as it was. */
export interface Seen {
  readonly disks: readonly DiskView[];
  readonly snapshots: readonly SnapshotView[];
  /** Path below `images/`, and size. */
  readonly files: readonly string[];
  readonly nodes: readonly string[];
  readonly jobs: readonly string[];
}

export class ServiceRig {
  readonly directory = mkdtempSync(join(tmpdir(), "qmirror-srv-"));
  readonly #undo: (() => unknown)[] = [];
  readonly #foreign = new Set<string>();
  #service: Awaited<ReturnType<typeof compose>> | undefined;

  constructor() {
    for (const name of ["state", "run", "images"]) mkdirSync(this.path(name));
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  /** A path below the directory that `see` looks at; a directory of that name is made when it ends with a slash. */
  image(name: string): string {
    if (name.endsWith("/")) mkdirSync(this.path("images", name), { recursive: true });
    return this.path("images", name);
  }

  createImage(
    name: string,
    options: { format?: "qcow2" | "raw"; backing?: string; size?: string; pattern?: number } = {},
  ): string {
    const { format = "qcow2", backing, size = "8M", pattern } = options;
    const below = backing === undefined ? [] : ["-F", "qcow2", "-b", backing];
    execFileSync("qemu-img", ["create", "-q", "-f", format, ...below, this.image(name), size]);
    if (pattern !== undefined) {
      execFileSync("qemu-io", ["-f", format, "-c", `write -q -P ${pattern} 0 2M`, this.image(name)]);
    }
    return this.image(name);
  }

  get facade(): Facade {
    assert.ok(this.#service, "the service is open");
    return this.#service.facade;
  }

  /** `dialect` is used for every QEMU, whatever a probe of it says. */
  async open(options: { dialect?: MirrorDialect } = {}): Promise<void> {
    const config = { stateDir: this.path("state"), runtimeDir: this.path("run") };
    const { dialect } = options;
    if (dialect === undefined) {
      this.#service = await compose(config, silentLogger);
      return;
    }
    const store = openStore(join(config.stateDir, stateFileName));
    const service = await Service.open({ ...config, logger: silentLogger, store, dialectByName: () => dialect });
    this.#service = { facade: service.facade, close: () => service.close() };
  }

  async closeService(): Promise<void> {
    await this.#service?.close();
    this.#service = undefined;
  }

  /** `<domain>` without a guest, one qcow2 disk for each path, and a second monitor for the test. */
  domainXml(name: string, images: readonly string[], format = "qcow2"): string {
    const disks = images.map(
      (path, index) => `<disk type='file' device='disk'><driver name='qemu' type='${format}'/><source file='${path}'/>
        <target dev='vd${String.fromCharCode(97 + index)}' bus='virtio'/></disk>`,
    );
    return `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>${name}</name>
      <memory unit='MiB'>32</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>
      <devices>${disks.join("")}</devices>
      <qemu:commandline><qemu:arg value='-qmp'/>
        <qemu:arg value='unix:${this.path(`${name}.eye`)},server=on,wait=off'/></qemu:commandline></domain>`;
  }

  /** The test's own monitor of a domain of `domainXml`. */
  async watch(name: string): Promise<Monitor> {
    return await this.#connect(this.path(`${name}.eye`));
  }

  pidOf(uuid: string): number {
    return Number(readFileSync(this.path("run", "domains", uuid, "qemu.pid"), "utf8"));
  }

  async startForeign(args: readonly string[], options: { paused?: boolean } = {}): Promise<ForeignQemu> {
    const [socket, eyePath] = [this.path(`f${this.#undo.length}.sock`), this.path(`f${this.#undo.length}.eye`)];
    const monitors = [
      ...["-chardev", `socket,id=q,path=${socket},server=on,wait=off`, "-mon", "chardev=q,mode=control"],
      // `wait=on`: QEMU prints a line when it listens; the other one does by then.
      ...["-chardev", `socket,id=e,path=${eyePath},server=on,wait=on`, "-mon", "chardev=e,mode=control"],
    ];
    const base = ["-machine", "q35,accel=tcg", "-nodefaults", "-display", "none"];
    const paused = options.paused === false ? [] : ["-S", "-m", "32"];
    const child = spawn("qemu-system-x86_64", [...monitors, ...base, ...paused, ...args], {
      cwd: this.directory,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const kill = (): Promise<void> => endChild(child);
    this.#undo.push(kill);
    const listening = Promise.withResolvers<void>();
    let said = "";
    child.stderr.on("data", (chunk) => {
      said += String(chunk);
      if (said.includes("waiting for connection")) listening.resolve();
    });
    child.once("close", () => listening.reject(new Error(`QEMU ended: ${said}`)));
    await listening.promise;
    assert.ok(child.pid !== undefined);
    return { socket, pid: child.pid, eye: await this.#connect(eyePath), kill };
  }

  /** Attaches it through a proxy. The process that then counts as its QEMU is this one: it must be detached, never destroyed. */
  async attachThroughProxy(name: string, qemu: ForeignQemu): Promise<QmpProxy> {
    const proxy = await startQmpProxy({ upstream: qemu.socket });
    this.#undo.push(() => proxy.close());
    await this.attach(name, proxy.path);
    return proxy;
  }

  async attach(name: string, qmp: string): Promise<void> {
    this.#foreign.add(name);
    await this.facade.attachDomain({ qmp, name });
  }

  async see(name: string, eye: Monitor): Promise<Seen> {
    const nodes = await eye.execute("query-named-block-nodes", { flat: true });
    return {
      disks: await this.facade.domainDisks(name),
      snapshots: await this.facade.listSnapshots(name),
      files: this.files(),
      nodes: nodes.map((node) => `${node["node-name"] ?? ""} ${node.drv} ${node.file}`).toSorted(),
      jobs: (await eye.execute("query-jobs")).map(({ id, status }) => `${id} ${status}`),
    };
  }

  files(): string[] {
    const names = readdirSync(this.path("images"), { recursive: true, withFileTypes: true });
    return names
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => `${path} ${statSync(path).size}`)
      .toSorted();
  }

  async chains(name: string): Promise<string[][]> {
    return (await this.facade.domainDisks(name)).map((disk) => disk.chain.map((image) => image.path));
  }

  async finish(operation: OperationView): Promise<OperationView> {
    return await this.facade.waitOperation(operation.id, AbortSignal.timeout(60_000));
  }

  async close(): Promise<void> {
    const domains = (await this.#service?.facade.listDomains()) ?? [];
    for (const { name, id } of domains) {
      if (id !== null && !this.#foreign.has(name)) await this.#service?.facade.destroyDomain(name);
    }
    await this.closeService();
    for (const undo of this.#undo.reverse()) await undo();
    rmSync(this.directory, { recursive: true });
  }

  async #connect(path: string): Promise<Monitor> {
    const monitor = await connectMonitor(path);
    this.#undo.push(() => monitor.close());
    return monitor;
  }
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

/** Arguments for disks that somebody else named: nodes and devices are called as the disk. */
export function blockdevDisks(disks: Readonly<Record<string, string>>): string[] {
  return Object.entries(disks).flatMap(([name, filename]) => [
    ...["-blockdev", JSON.stringify({ driver: "qcow2", "node-name": `n-${name}`, file: { driver: "file", filename } })],
    ...["-device", `virtio-blk-pci,drive=n-${name},id=${name}`],
  ]);
}

/** Writes 64 KiB of `pattern` at `offsetKib` as the guest's device would, and flushes. */
export async function writeThroughDevice(eye: Monitor, id: string, pattern: number, offsetKib: number): Promise<void> {
  for (const what of [`write -P ${pattern} ${offsetKib}k 64k`, "flush"]) {
    const command = `qemu-io -d /machine/peripheral/${id}/virtio-backend "${what}"`;
    // What the command itself says goes to QEMU's standard output; here comes only that it could not be tried.
    assert.equal(await eye.execute("human-monitor-command", { "command-line": command }), "");
  }
}

/** Reads the same back from an image that no QEMU has open. */
export function assertHolds(path: string, pattern: number, offsetKib: number): void {
  const said = execFileSync("qemu-io", ["-r", "-f", "qcow2", "-c", `read -P ${pattern} ${offsetKib}k 64k`, path], {
    encoding: "utf8",
  });
  assert.doesNotMatch(said, /verification failed/, `${path}: ${said}`);
}

/** Files that a process has open. */
export function openFiles(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  return readdirSync(directory).flatMap((name) => {
    try {
      return [readlinkSync(join(directory, name))];
    } catch {
      return []; // closed meanwhile
    }
  });
}

/** The request is refused with `code`, in words that name everything in `names`. Returns the message. */
export async function assertRefused(
  request: Promise<unknown>,
  code: ErrorCode,
  names: readonly string[] = [],
): Promise<string> {
  const error: unknown = await request.then(
    () => assert.fail(`${code} was expected`),
    (reason: unknown) => reason,
  );
  assert.ok(isQmError(error), String(error));
  assert.equal(error.code, code, error.message);
  for (const name of names) assert.ok(error.message.includes(name), `'${name}' is not in: ${error.message}`);
  return error.message;
}
