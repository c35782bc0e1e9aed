/** A service with one domain `g` on a chain of three images, for the block verbs. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import type { OperationView } from "../../src/api-types/index.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { assertHolds, openFiles, ServiceRig, writeThroughDevice } from "./service-rig.ts";

export class BlockRig extends ServiceRig {
  /** Lowest first: `base`, `mid`, `top`. Each has 64 KiB of its own number at its own place; all wrote at 1 MiB. */
  chain: string[] = [];
  #eye: Monitor | undefined;

  static async create(): Promise<BlockRig> {
    const rig = new BlockRig();
    await rig.open();
    for (const [index, name] of ["base", "mid", "top"].entries()) {
      const backing = rig.chain[index - 1];
      const path = rig.createImage(name, backing === undefined ? {} : { backing });
      const own = `write -q -P ${index + 1} ${index * 64}k 64k`;
      execFileSync("qemu-io", ["-f", "qcow2", "-c", own, "-c", `write -q -P ${index + 1} 1M 64k`, path]);
      rig.chain.push(path);
    }
    return rig;
  }

  /** The test's own monitor of the running domain. */
  get eye(): Monitor {
    assert.ok(this.#eye, "the domain was started");
    return this.#eye;
  }

  /** An image of the chain: 0 is the lowest, 2 the active one. */
  layer(place: number): string {
    return this.chain[place] ?? "";
  }

  async define(): Promise<void> {
    await this.facade.defineDomain(this.domainXml("g", [this.layer(2)]));
  }

  async start(): Promise<void> {
    await this.define();
    await this.facade.startDomain("g");
    this.#eye = await this.watch("g");
  }

  async startTransient(): Promise<void> {
    await this.facade.createDomain(this.domainXml("g", [this.layer(2)]));
    this.#eye = await this.watch("g");
  }

  async destroy(): Promise<void> {
    await this.facade.destroyDomain("g");
  }

  /** As the guest's device would. */
  async write(pattern: number, offsetKib: number): Promise<void> {
    await writeThroughDevice(this.eye, "vda", pattern, offsetKib);
  }

  /** 4 KiB, a part of a cluster. */
  async writePart(pattern: number, offsetKib: number): Promise<void> {
    const command = `qemu-io -d /machine/peripheral/vda/virtio-backend "write -P ${pattern} ${offsetKib}k 4k"`;
    assert.equal(await this.eye.execute("human-monitor-command", { "command-line": command }), "");
  }

  async succeed(request: Promise<OperationView>): Promise<OperationView> {
    const view = await this.finish(await request);
    assert.equal(view.state, "succeeded", JSON.stringify(view.error));
    return view;
  }

  /** The disk's images now, active first, and what the definition for the next start names. */
  async assertChain(...paths: string[]): Promise<void> {
    assert.deepEqual(await this.chains("g"), [paths]);
    if (!(await this.facade.getDomain("g")).persistent) return;
    const xml = await this.facade.domainXml("g", { inactive: true });
    assert.ok(xml.includes(`<source file='${paths[0] ?? ""}'/>`), xml);
  }

  /** Of an image that nobody has open: what the chain held, and what was written since, by KiB. */
  assertData(path: string, written: Readonly<Record<number, number>> = {}): void {
    for (const [offsetKib, pattern] of Object.entries({ 0: 1, 64: 2, 128: 3, 1024: 3, ...written })) {
      assertHolds(path, pattern, Number(offsetKib));
    }
    execFileSync("qemu-img", ["check", "-q", path]);
  }

  /** Which of the chain's images QEMU has open. */
  async openLayers(): Promise<string[]> {
    const open = openFiles(this.pidOf((await this.facade.getDomain("g")).uuid));
    return this.chain.filter((path) => open.includes(path));
  }

  /** The service is closed in the middle of the work: as near to a crash as it gets in one process. */
  async closeInMiddle(): Promise<void> {
    while ((await this.eye.execute("query-jobs")).length === 0);
    await this.closeService();
  }
}

/** What `qemu-io` reads from an image that nobody has open: `read -P …` commands. */
export function assertReads(path: string, format: "qcow2" | "raw", reads: readonly string[]): void {
  const said = execFileSync("qemu-io", ["-r", "-f", format, ...reads.flatMap((read) => ["-c", read]), path]);
  assert.doesNotMatch(said.toString(), /verification failed/);
}
