/** A service whose storage, QEMU or monitor fails at exact moments. Everything made here is gone after `close`, or with this process. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { OperationView } from "../../src/api-types/index.ts";
import { compose } from "../../src/daemon/compose.ts";
import { isJsonObject, LineDecoder, parseObject, type JsonObject } from "../../src/qmp/framing.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import type { Facade } from "../../src/service/facade.ts";
import { serveSocket } from "../../src/testing/fake-qemu/socket-server.ts";
import { ServiceRig, type ForeignQemu } from "../live/service-rig.ts";
import { silentLogger } from "../live/witness-rig.ts";

type Hook = () => Promise<void> | void;

export class FaultRig extends ServiceRig {
  readonly #undo: (() => unknown)[] = [];
  readonly #hooks = new Map<string, Hook>();
  readonly #notOurs = new Set<string>();
  #composed: Awaited<ReturnType<typeof compose>> | undefined;

  override get facade(): Facade {
    assert.ok(this.#composed, "the service is open");
    return this.#composed.facade;
  }

  /** Opens the service as a daemon does; `at` says what happens at the points that its engine names. */
  override async open(): Promise<void> {
    const fault = async (point: string): Promise<void> => {
      const hook = this.#hooks.get(point);
      this.#hooks.delete(point);
      await hook?.();
    };
    this.#composed = await compose({ stateDir: this.path("state"), runtimeDir: this.path("run"), fault }, silentLogger);
  }

  /** Once, when the engine comes to `point`: `before copy-layers`, `after take-snapshot`, `undo take-snapshot`. */
  at(point: string, hook: Hook): void {
    this.#hooks.set(point, hook);
  }

  override async closeService(): Promise<void> {
    await this.#composed?.close();
    this.#composed = undefined;
  }

  override async attach(name: string, qmp: string): Promise<void> {
    this.#notOurs.add(name);
    await this.facade.attachDomain({ qmp, name });
  }

  override async close(): Promise<void> {
    for (const { name, id } of (await this.#composed?.facade.listDomains()) ?? []) {
      if (id !== null && !this.#notOurs.has(name)) await this.facade.destroyDomain(name);
    }
    await super.close();
    for (const undo of this.#undo.reverse()) await undo();
  }

  later(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  /** A domain without a guest on these images, started, with a monitor of the test's own. */
  async start(name: string, images: readonly string[], format = "qcow2"): Promise<Monitor> {
    await this.facade.defineDomain(this.domainXml(name, images, format));
    await this.facade.startDomain(name);
    return await this.watch(name);
  }

  async pid(name: string): Promise<number> {
    return this.pidOf((await this.facade.getDomain(name)).uuid);
  }

  /** An attached QEMU behind a {@link Relay}. It must be detached, never destroyed: its process counts as this one. */
  async attachThroughRelay(name: string, qemu: ForeignQemu): Promise<Relay> {
    const relay = await startRelay(qemu.socket);
    this.#undo.push(() => relay.close());
    await this.attach(name, relay.path);
    return relay;
  }

  /** A file system of this size, of our own. Needs root. It goes with this process, however that ends. */
  async smallDisk(sizeMib: number): Promise<SmallDisk> {
    const path = mkdtempSync(join(tmpdir(), "qmirror-full-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeMib}m,mode=700`, "qmirror-test", path]);
    // Reads until this process closes the pipe, or dies.
    const guard = spawn("sh", ["-c", 'read -r _; umount -l "$0"; rmdir "$0"', path], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    const gone = once(guard, "exit");
    this.#undo.push(async () => {
      guard.stdin.end();
      await gone;
    });
    return new SmallDisk(path);
  }
}

export class SmallDisk {
  readonly path: string;
  #stuffing: string | undefined;

  constructor(path: string) {
    this.path = path;
  }

  image(...names: string[]): string {
    const path = join(this.path, ...names);
    mkdirSync(dirname(path), { recursive: true });
    return path;
  }

  directory(name: string): string {
    const path = join(this.path, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** Not a byte more can be written. */
  fill(): void {
    this.#stuffing = join(this.path, "stuffing");
    const file = openSync(this.#stuffing, "w");
    try {
      for (const chunk of [Buffer.alloc(64 * 1024), Buffer.alloc(4096)]) {
        try {
          for (;;) if (writeSync(file, chunk) < chunk.length) break;
        } catch (error) {
          assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
        }
      }
    } finally {
      closeSync(file);
    }
  }

  makeRoom(): void {
    if (this.#stuffing !== undefined) rmSync(this.#stuffing, { force: true });
    this.#stuffing = undefined;
  }
}

/** Stands between the service and a QEMU, and says to the service what QEMU never would. */
export interface Relay {
  readonly path: string;
  /** Bytes as they are, to whoever is connected. */
  say(text: string): void;
  /** Ends every connection to the service; QEMU goes on. */
  cut(): void;
  /** Every command from now on passes through it; what it gives undefined for never reaches QEMU, and has no answer. */
  rewrite: (request: JsonObject) => JsonObject | undefined;
  close(): Promise<void>;
}

async function startRelay(upstream: string): Promise<Relay> {
  const clients = new Set<Socket>();
  const server = await serveSocket(undefined, (client) => {
    const qemu = createConnection(upstream);
    const decoder = new LineDecoder(1 << 20);
    clients.add(client);
    qemu.on("data", (chunk) => client.write(chunk));
    client.on("data", (chunk: Buffer) => {
      for (const line of decoder.push(chunk)) {
        const request = relay.rewrite(parseObject(line));
        if (request !== undefined) qemu.write(`${JSON.stringify(request)}\n`);
      }
    });
    client.on("error", () => client.destroy()).on("close", () => clients.delete(client) && qemu.destroy());
    qemu.on("error", () => qemu.destroy()).on("close", () => client.destroy());
  });
  const relay: Relay = {
    path: server.path,
    rewrite: (request) => request,
    say: (text) => clients.forEach((client) => client.write(text)),
    cut: () => clients.forEach((client) => client.destroy()),
    close: () => server.close(),
  };
  return relay;
}

/** A `rewrite` that gives the jobs of this command another speed. */
export function limitSpeed(command: string, bytesPerS: number): (request: JsonObject) => JsonObject {
  return (request) => {
    const args = request["arguments"];
    return request["execute"] === command && isJsonObject(args)
      ? { ...request, arguments: { ...args, speed: bytesPerS } }
      : request;
  };
}

/** A `rewrite` that keeps the next command of this name from QEMU. */
export function swallow(command: string): { rewrite: Relay["rewrite"]; reached: Promise<void> } {
  const reached = Promise.withResolvers<void>();
  let taken = false;
  return {
    reached: reached.promise,
    rewrite: (request) => {
      if (taken || request["execute"] !== command) return request;
      taken = true;
      reached.resolve();
      return undefined;
    },
  };
}

/** The first view of the operation that `matches`. */
export async function awaitView(
  facade: Facade,
  id: string,
  matches: (view: OperationView) => boolean,
): Promise<OperationView> {
  for await (const view of facade.watchOperation(id, AbortSignal.timeout(30_000))) if (matches(view)) return view;
  assert.fail("the operation ended without it");
}

/** As the guest's device would, without the flush that makes QEMU write its tables. */
export async function writeUnflushed(
  eye: Monitor,
  device: string,
  pattern: number,
  offsetKib: number,
  sizeKib = 64,
): Promise<void> {
  const command = `qemu-io -d /machine/peripheral/${device}/virtio-backend "write -P ${pattern} ${offsetKib}k ${sizeKib}k"`;
  assert.equal(await eye.execute("human-monitor-command", { "command-line": command }), "");
}

/** What `qemu-io` reads of an image, also while a QEMU has it open. */
export function assertReads(path: string, written: Readonly<Record<number, number>>): void {
  const reads = Object.entries(written).flatMap(([offsetKib, pattern]) => [
    "-c",
    `read -P ${pattern} ${offsetKib}k 64k`,
  ]);
  const said = execFileSync("qemu-io", ["-r", "-U", "-f", "qcow2", ...reads, path], { encoding: "utf8" });
  assert.doesNotMatch(said, /fail/, `${path}: ${said}`);
}

/** The operation has failed with this code, in words that name all of `names`. */
export function assertFailed(final: OperationView, code: string, names: readonly string[]): void {
  assert.equal(final.error?.code, code, JSON.stringify(final));
  for (const name of names) {
    assert.ok(final.error.message.includes(name), `'${name}' is not in: ${final.error.message}`);
  }
}
