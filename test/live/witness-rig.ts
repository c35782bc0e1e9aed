/** A service of its own over temporary directories, with a witness guest that writes; all of it gone when the test ends. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DiskView, OperationView } from "../../src/api-types/index.ts";
import { compose } from "../../src/daemon/compose.ts";
import type { Facade } from "../../src/service/facade.ts";
import { checkImages, type WitnessVerdict } from "../../src/testing/witness/check-images.ts";
import { followSerial, readSerialLog } from "../../src/testing/witness/serial-log.ts";
import { makeWitnessDomain, type WitnessDomain } from "../../src/testing/witness/witness-domain.ts";

export const cacheDir = fileURLToPath(new URL("../../.cache", import.meta.url));
export const bootLimitMs = 120_000;
const run = 0x5eedn;
const slots = 4096;
const sizeBytes = 20 * 1024 * 1024;

export const silentLogger = { info: () => undefined, warn: () => undefined, error: () => undefined };

export class WitnessRig {
  readonly directory: string;
  readonly witness: WitnessDomain;
  #service: Awaited<ReturnType<typeof compose>> | undefined;

  private constructor(directory: string, witness: WitnessDomain) {
    this.directory = directory;
    this.witness = witness;
  }

  static async create(options: { disks: number; intervalUs?: number }): Promise<WitnessRig> {
    const directory = await mkdtemp(join(tmpdir(), "qmirror-rig-"));
    for (const name of ["state", "run", "target"]) await mkdir(join(directory, name));
    const witness = await makeWitnessDomain({
      name: "witness",
      directory,
      cacheDir,
      run,
      slots,
      sizeBytes,
      ...options,
    });
    return new WitnessRig(directory, witness);
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  get dirs(): { stateDir: string; runtimeDir: string } {
    return { stateDir: this.path("state"), runtimeDir: this.path("run") };
  }

  get facade(): Facade {
    assert.ok(this.#service, "the service is open");
    return this.#service.facade;
  }

  /** Opens the service as a daemon does when it starts: recovery included. */
  async open(fault?: (point: string) => Promise<void>): Promise<Facade> {
    this.#service = await compose({ ...this.dirs, ...(fault === undefined ? {} : { fault }) }, silentLogger);
    return this.facade;
  }

  async closeService(): Promise<void> {
    await this.#service?.close();
    this.#service = undefined;
  }

  /** Defines, starts, and waits until the guest has written to every disk. */
  async boot(): Promise<void> {
    await this.facade.defineDomain(this.witness.xml);
    await this.facade.startDomain("witness");
    await this.awaitWrites(20);
  }

  /** Waits for that many further acknowledged writes. */
  async awaitWrites(count: number): Promise<void> {
    const before = await readSerialLog(this.witness.serial);
    await followSerial(this.witness.serial, before.writes.length + count, AbortSignal.timeout(bootLimitMs));
  }

  async disks(): Promise<DiskView[]> {
    return await this.facade.domainDisks("witness");
  }

  /** Paths of the images that the guest's disks are on, in the order of the disks. */
  async activePaths(): Promise<string[]> {
    return (await this.disks()).map((disk) => disk.chain[0]?.path ?? "");
  }

  async finish(operation: OperationView): Promise<OperationView> {
    return await this.facade.waitOperation(operation.id, AbortSignal.timeout(60_000));
  }

  /** Pulls the plug and checks every acknowledged write in the images that the domain names. */
  async stopAndCheck(): Promise<WitnessVerdict> {
    const paths = await this.activePaths();
    if ((await this.facade.getDomain("witness")).id !== null) await this.facade.destroyDomain("witness");
    return await this.check(paths);
  }

  async check(paths: readonly string[], options: { acknowledged?: boolean } = {}): Promise<WitnessVerdict> {
    const { acknowledged } = await readSerialLog(this.witness.serial);
    return await checkImages({
      images: paths.map((path, disk) => ({ disk, path, format: "qcow2" as const })),
      run,
      slots,
      offsetBytes: this.witness.offsetBytes,
      pattern: true,
      ...(options.acknowledged === false ? {} : { acknowledged }),
    });
  }

  async close(): Promise<void> {
    const domains = (await this.#service?.facade.listDomains()) ?? [];
    for (const { name, id } of domains) if (id !== null) await this.facade.destroyDomain(name);
    await this.closeService();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Nothing that the guest was told is safe may be missing, and all disks are of one instant. */
export function assertNothingLost(verdict: WitnessVerdict): void {
  const { missing, corrupt, patternDamaged, instantConsistent } = verdict;
  assert.deepEqual(
    { missing, corrupt, patternDamaged, instantConsistent },
    { missing: 0, corrupt: 0, patternDamaged: 0, instantConsistent: true },
  );
}
