/** A service with one domain whose guest runs QEMU's guest agent and writes to a file on an ext4 file system on each of two disks. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { compose } from "../../src/daemon/compose.ts";
import type { Facade } from "../../src/service/facade.ts";
import { startQmpProxy, type QmpProxy } from "../../src/testing/qmp-proxy.ts";
import { checkImages, type WitnessVerdict } from "../../src/testing/witness/check-images.ts";
import { readFileSystem } from "../../src/testing/witness/file-system.ts";
import { followSerial, readSerialLog, type WitnessReport } from "../../src/testing/witness/serial-log.ts";
import { makeWitnessDomain, type WitnessDomain } from "../../src/testing/witness/witness-domain.ts";
import type { QuiesceAct } from "./quiesce-actor.ts";
import { bootLimitMs, cacheDir, silentLogger } from "./witness-rig.ts";

const [run, slots, sizeBytes] = [0x5eedn, 4096, 40 * 1024 * 1024];
const actorPath = fileURLToPath(new URL("quiesce-actor.ts", import.meta.url));

/** A writing guest acknowledges a hundred writes and more in that time. */
const stillnessMs = 400;
const someWrites = 20;
const writeLimitMs = 10_000;

export class QuiesceRig {
  readonly directory: string;
  readonly witness: WitnessDomain;
  /** Called at each named point of the engine. */
  atPoint: (point: string) => Promise<void> = () => Promise.resolve();
  readonly #standing = new Set<() => Promise<void>>();
  #service: Awaited<ReturnType<typeof compose>> | undefined;

  private constructor(directory: string, witness: WitnessDomain) {
    this.directory = directory;
    this.witness = witness;
  }

  static async create(): Promise<QuiesceRig> {
    const directory = mkdtempSync(join(tmpdir(), "qmirror-quiesce-"));
    for (const name of ["state", "run", "copies"]) mkdirSync(join(directory, name));
    const guest = { name: "witness", disks: 2, run, slots, sizeBytes, intervalUs: 2000, agent: true };
    return new QuiesceRig(directory, await makeWitnessDomain({ ...guest, directory, cacheDir }));
  }

  get dirs(): { stateDir: string; runtimeDir: string } {
    return { stateDir: join(this.directory, "state"), runtimeDir: join(this.directory, "run") };
  }

  get facade(): Facade {
    assert.ok(this.#service, "the service is open");
    return this.#service.facade;
  }

  async open(): Promise<void> {
    this.#service = await compose({ ...this.dirs, fault: (point) => this.atPoint(point) }, silentLogger);
  }

  async closeService(): Promise<void> {
    await this.#service?.close();
    this.#service = undefined;
  }

  /** Does one quiesced snapshot in another process, which is killed at a point of the engine or at a moment. */
  async dieAt(when: string | Promise<void>, snapshot: string): Promise<void> {
    const act: QuiesceAct = { ...this.dirs, snapshot, ...(typeof when === "string" ? { dieAt: when } : {}) };
    const child = spawn(process.execPath, [actorPath, JSON.stringify(act)], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    const exit = once(child, "exit");
    if (typeof when !== "string") {
      await when;
      child.kill("SIGKILL");
    }
    assert.deepEqual(await exit, [null, "SIGKILL"], "the point was reached");
  }

  /** Images beside those that the guest began with. */
  newFiles(): string[] {
    const known = new Set(this.witness.images.map(({ path }) => path));
    const directory = join(this.directory, "source");
    return readdirSync(directory).filter((name) => !known.has(join(directory, name)));
  }

  createImage(name: string): string {
    const path = join(this.directory, "source", name);
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", path, "8M"]);
    return path;
  }

  report(): Promise<WitnessReport> {
    return readSerialLog(this.witness.serial);
  }

  async boot(): Promise<void> {
    await this.facade.createDomain(this.witness.xml);
    await followSerial(this.witness.serial, someWrites, AbortSignal.timeout(bootLimitMs));
  }

  /** Waits for further acknowledged writes: the guest is not frozen. */
  async awaitWrites(): Promise<void> {
    const { writes } = await this.report();
    await followSerial(this.witness.serial, writes.length + someWrites, AbortSignal.timeout(writeLimitMs));
  }

  /** The guest acknowledges nothing: it is frozen. The console may have lagged behind: what it had acknowledged before. */
  async assertStill(): Promise<WitnessReport> {
    await delay(stillnessMs);
    const before = await this.report();
    await delay(stillnessMs);
    assert.equal((await this.report()).writes.length - before.writes.length, 0, "writes while frozen");
    return before;
  }

  /** The file systems of one image for each disk, and the records in them. */
  async inspect(paths: readonly string[], acknowledged: WitnessReport["acknowledged"]) {
    const copies = paths.map((_, disk) => join(this.directory, "copies", String(disk)));
    const states = [];
    for (const [disk, path] of paths.entries()) {
      states.push(await readFileSystem({ path, format: "qcow2" }, copies[disk] ?? ""));
    }
    const check = async (): Promise<WitnessVerdict> => {
      const images = copies.map((path, disk) => ({ disk, path, format: "raw" as const }));
      return await checkImages({ images, run, slots, acknowledged, pattern: false });
    };
    return { states, check };
  }

  async activePaths(): Promise<string[]> {
    return (await this.facade.domainDisks("witness")).map((disk) => disk.chain[0]?.path ?? "");
  }

  /** Stands between the service, which is opened anew, and QEMU's monitor. The proxy stays until `restore`. */
  async proxyMonitor(): Promise<{ proxy: QmpProxy; restore: () => Promise<void> }> {
    const path = await this.#socket("qmp.sock");
    await this.closeService();
    renameSync(path, `${path}.qemu`);
    const proxy = await startQmpProxy({ upstream: `${path}.qemu`, listen: path });
    this.#standing.add(() => proxy.close());
    await this.open();
    const restore = async (): Promise<void> => {
      await this.closeService();
      await this.#endProxies();
      renameSync(`${path}.qemu`, path);
      await this.open();
    };
    return { proxy, restore };
  }

  /** Stands between the service and the agent, and loses the answer to the next freeze: the guest is frozen, and nobody told. */
  async loseFreezeAnswer(): Promise<{ answered: Promise<void>; restore: () => Promise<void> }> {
    const path = await this.#socket("agent.sock");
    renameSync(path, `${path}.qemu`);
    const answered = Promise.withResolvers<void>();
    let frozen = false;
    const server = createServer((client) => {
      const agent = createConnection(`${path}.qemu`);
      let losing = false;
      client.on("data", (chunk) => {
        losing = !frozen && chunk.includes("guest-fsfreeze-freeze");
        agent.write(chunk);
      });
      agent.on("data", (chunk) => {
        if (!losing) return client.write(chunk);
        frozen = true;
        answered.resolve();
      });
      for (const [one, other] of [
        [client, agent],
        [agent, client],
      ] as const) {
        one.on("error", () => undefined);
        one.on("close", () => other.destroy());
      }
    });
    server.listen(path);
    await once(server, "listening");
    this.#standing.add(async () => {
      server.close();
      await once(server, "close");
    });
    const restore = async (): Promise<void> => {
      await this.#endProxies();
      renameSync(`${path}.qemu`, path);
    };
    return { answered: answered.promise, restore };
  }

  async #endProxies(): Promise<void> {
    for (const end of this.#standing) await end();
    this.#standing.clear();
  }

  async #socket(name: string): Promise<string> {
    const { uuid } = await this.facade.getDomain("witness");
    return join(this.dirs.runtimeDir, "domains", uuid, name);
  }

  async close(): Promise<void> {
    const domains = (await this.#service?.facade.listDomains()) ?? [];
    for (const { name, id } of domains) if (id !== null) await this.facade.destroyDomain(name);
    await this.closeService();
    await this.#endProxies();
    rmSync(this.directory, { recursive: true });
  }
}
