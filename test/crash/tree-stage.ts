/**
 * A domain without a guest, whose disks and snapshots hold known patterns. It is prepared once; every case begins with a copy of the
 * state and the images of that moment.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import type { SnapshotCreateBody, SnapshotRevertBody } from "../../src/api-types/index.ts";
import type { Facade } from "../../src/service/facade.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { connectMonitor } from "../../src/qemu/monitor.ts";
import { ServiceRig } from "../live/service-rig.ts";

export const blockBytes = 64 * 1024;
export const blocks = 64;
export const domain = "tree";

/** For each disk the pattern in each of its blocks. */
export type Content = readonly Uint8Array[];

/** What the domain holds, and each of its snapshots. */
export interface Holding {
  readonly present: Content;
  readonly snapshots: ReadonlyMap<string, Content>;
}

export class TreeStage {
  readonly targets: readonly string[];
  readonly #rig = new ServiceRig();
  #present: Uint8Array[];
  readonly #snapshots = new Map<string, Content>();
  #eye: Monitor | undefined;
  #isOpen = false;

  private constructor(disks: number) {
    this.targets = Array.from({ length: disks }, (_, index) => `vd${String.fromCharCode(97 + index)}`);
    this.#present = this.targets.map(() => new Uint8Array(blocks));
  }

  /** The domain runs when `prepare` is called; afterwards it does not, and nothing is open. */
  static async create(disks: number, prepare: (stage: TreeStage) => Promise<void>): Promise<TreeStage> {
    const stage = new TreeStage(disks);
    try {
      await stage.open();
      const images = stage.targets.map((target) => stage.path("images", `${target}.qcow2`));
      for (const image of images) {
        execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", image, String(blocks * blockBytes)]);
      }
      await stage.facade.defineDomain(stage.#rig.domainXml(domain, images));
      await stage.facade.startDomain(domain);
      await prepare(stage);
      await stage.rest();
      for (const name of ["state", "images"]) cpSync(stage.path(name), stage.path("kept", name), { recursive: true });
      return stage;
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  path(...names: string[]): string {
    return this.#rig.path(...names);
  }

  get facade(): Facade {
    return this.#rig.facade;
  }

  get holding(): Holding {
    return { present: this.#present, snapshots: this.#snapshots };
  }

  get dirs(): { stateDir: string; runtimeDir: string; domain: string } {
    return { stateDir: this.path("state"), runtimeDir: this.path("run"), domain };
  }

  /** As it was prepared. Neither the service nor QEMU may run. */
  restore(): void {
    for (const name of ["state", "images"]) {
      rmSync(this.path(name), { recursive: true });
      cpSync(this.path("kept", name), this.path(name), { recursive: true });
    }
    rmSync(this.path("run"), { recursive: true });
    mkdirSync(this.path("run"));
  }

  /** As a daemon does when it starts: recovery included. */
  async open(): Promise<void> {
    await this.#rig.open();
    this.#isOpen = true;
  }

  /** Ends QEMU. */
  async stop(): Promise<void> {
    await this.#eye?.close();
    this.#eye = undefined;
    if ((await this.facade.getDomain(domain)).id !== null) await this.facade.destroyDomain(domain);
  }

  /** Ends QEMU and the service, where they run. */
  async rest(): Promise<void> {
    if (!this.#isOpen) return;
    await this.stop();
    await this.#rig.closeService();
    this.#isOpen = false;
  }

  /** A second monitor of the running QEMU. */
  async eye(): Promise<Monitor> {
    this.#eye ??= await connectMonitor(this.path(`${domain}.eye`));
    return this.#eye;
  }

  /** Fills `count` blocks from `at` on with `pattern`, on one disk or on all, each with its own; durable when it resolves. */
  async write(pattern: number, at: number, count: number, only?: number): Promise<void> {
    for (const index of this.targets.keys()) {
      if (only === undefined || only === index) await this.fill(this.#present, pattern, at, count, index);
    }
  }

  /** Writes to one disk, through its device, and notes it in `content`. */
  async fill(content: Content, pattern: number, at: number, count: number, disk: number): Promise<void> {
    const eye = await this.eye();
    const own = pattern + 100 * disk;
    for (const what of [`write -P ${own} ${at * blockBytes} ${count * blockBytes}`, "flush"]) {
      const device = `/machine/peripheral/${this.targets[disk] ?? ""}/virtio-backend`;
      const command = { "command-line": `qemu-io -d ${device} "${what}"` };
      assert.equal(await eye.execute("human-monitor-command", command), "");
    }
    content[disk]?.fill(own, at, at + count);
  }

  async snapshot(body: SnapshotCreateBody & { readonly name: string }): Promise<void> {
    await this.facade.createSnapshot(domain, body);
    this.#snapshots.set(body.name, copyOf(this.#present));
  }

  async revert(snapshot: string, body: SnapshotRevertBody): Promise<void> {
    await this.#eye?.close();
    this.#eye = undefined;
    await this.facade.revertSnapshot(domain, snapshot, body);
    this.#present = copyOf(this.#snapshots.get(snapshot) ?? []);
  }

  async close(): Promise<void> {
    await this.#eye?.close();
    await this.#rig.close();
  }
}

export function copyOf(content: Content): Uint8Array[] {
  return content.map((disk) => disk.slice());
}
