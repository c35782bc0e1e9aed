/** A QEMU without a guest over a chain of layers with known contents, for merging them. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { readQcow2Header } from "../../src/image/qcow2-header.ts";
import { withImage } from "../../src/image/open-image.ts";
import type { ImageNode } from "../../src/qemu/mirror-dialect/dialect.ts";
import { readGuestDisks } from "../../src/qemu/block-graph.ts";
import { connectMonitor, type Monitor } from "../../src/qemu/monitor.ts";
import { QemuRig } from "./qemu-rig.ts";

export interface LayerSpec {
  readonly name: string;
  readonly format?: "qcow2" | "raw";
  readonly size?: string;
  /** `[pattern, offset, length]` as qemu-io takes them. */
  readonly data?: readonly (readonly [pattern: number, offset: string, length: string])[];
  /** Every write of the image's data fails with this errno. */
  readonly failWritesErrno?: number;
}

export class LayerRig {
  readonly rig = new QemuRig();
  readonly #layers: readonly LayerSpec[];
  #eye: Monitor | undefined;
  #connections = 0;
  #expected: Buffer = Buffer.alloc(0);

  /** Active layer first. */
  constructor(layers: readonly LayerSpec[]) {
    this.#layers = layers;
    for (const { name, format = "qcow2", size = "8M", data = [] } of layers.toReversed()) {
      const below = layers[layers.findIndex((layer) => layer.name === name) + 1];
      const backing = below === undefined ? [] : ["-F", below.format ?? "qcow2", "-b", this.rig.path(below.name)];
      execFileSync("qemu-img", ["create", "-q", "-f", format, ...backing, this.rig.path(name), size]);
      const writes = data.flatMap(([pattern, offset, length]) => ["-c", `write -q -P ${pattern} ${offset} ${length}`]);
      if (writes.length > 0) execFileSync("qemu-io", ["-f", format, ...writes, this.rig.path(name)]);
    }
    this.#expected = this.read(layers[0]?.name ?? "");
  }

  /** The test's own monitor. */
  get eye(): Monitor {
    assert.ok(this.#eye);
    return this.#eye;
  }

  /** Contents of an image with all that is below it. */
  read(name: string): Buffer {
    const format = this.#layers.find((layer) => layer.name === name)?.format ?? "qcow2";
    const flat = this.rig.path("flat");
    execFileSync("qemu-img", ["convert", "-f", format, "-O", "raw", this.rig.path(name), flat]);
    return readFileSync(flat);
  }

  node(name: string): ImageNode {
    const format = this.#layers.find((layer) => layer.name === name)?.format ?? "qcow2";
    return { image: { type: "file", path: this.rig.path(name), format }, node: `n-${name}`, fileNode: `f-${name}` };
  }

  async start(): Promise<void> {
    const nodes = this.#layers.toReversed().flatMap((layer): object[] => {
      const { name, format = "qcow2", failWritesErrno } = layer;
      const place = this.#layers.indexOf(layer);
      const { node, fileNode } = this.node(name);
      const below = this.#layers[place + 1];
      const file = { driver: "file", "node-name": fileNode, filename: this.rig.path(name), "auto-read-only": true };
      const faulty = {
        driver: "blkdebug",
        "node-name": `d-${name}`,
        image: fileNode,
        "inject-error": [{ event: "write_aio", errno: failWritesErrno, once: false, immediately: true }],
      };
      const image = {
        driver: format,
        "node-name": node,
        "read-only": place > 0,
        file: failWritesErrno === undefined ? fileNode : faulty["node-name"],
        ...(format === "raw" ? {} : { backing: below === undefined ? null : this.node(below.name).node }),
      };
      return failWritesErrno === undefined ? [file, image] : [file, faulty, image];
    });
    const root = this.node(this.#layers[0]?.name ?? "").node;
    const blockdevs = nodes.flatMap((options) => ["-blockdev", JSON.stringify(options)]);
    // One for each connection: an answer to what a client asked before it left goes to the next one of the same socket.
    const managers = [0, 1].flatMap((index) => [
      ...["-chardev", `socket,id=m${index},path=${this.rig.path(`m${index}`)},server=on,wait=off`],
      ...["-mon", `chardev=m${index},mode=control`],
    ]);
    this.#eye = await this.rig.startForeign([
      ...[...managers, "-pidfile", this.rig.path("pid")],
      ...[...blockdevs, "-device", `virtio-blk-pci,drive=${root},id=vda`],
    ]);
  }

  /** A monitor as a manager has it, twice at most; the rig's own is another. */
  async connect(): Promise<Monitor> {
    return await connectMonitor(this.rig.path(`m${this.#connections++}`));
  }

  /** As the guest would; `expected` knows of it. */
  async write(pattern: number, offsetKib: number): Promise<void> {
    for (const what of [`write -P ${pattern} ${offsetKib}k 64k`, "flush"]) {
      const command = `qemu-io -d /machine/peripheral/vda/virtio-backend "${what}"`;
      assert.equal(await this.eye.execute("human-monitor-command", { "command-line": command }), "");
    }
    this.#expected.fill(pattern, offsetKib * 1024, (offsetKib + 64) * 1024);
  }

  /** Resolves when a job has this status, from now on. */
  async jobIs(status: string): Promise<void> {
    const heard = Promise.withResolvers<void>();
    const stop = this.eye.onEvent((event) => {
      if (event.event === "JOB_STATUS_CHANGE" && event.data.status === status) heard.resolve();
    });
    await heard.promise;
    stop();
  }

  /** The chain as QEMU has it, by name. */
  async chain(): Promise<string[]> {
    const [disk] = await readGuestDisks(this.eye);
    assert.equal(disk?.unsupported, undefined);
    return disk?.layers.map(({ node }) => node.slice(2)) ?? [];
  }

  async openNodes(): Promise<string[]> {
    const nodes = await this.eye.execute("query-named-block-nodes", { flat: true });
    return nodes.map((node) => node["node-name"] ?? "").toSorted();
  }

  async backingOf(name: string): Promise<string | undefined> {
    const path = this.rig.path(name);
    const header = await withImage({ disk: "vda", path }, ({ file }) => readQcow2Header(file, { disk: "vda", path }));
    return header.backingName === undefined ? undefined : `${header.backingFormat} ${basename(header.backingName)}`;
  }

  /** No job is left, QEMU has exactly these layers open, in this order, and they hold what the guest has written, after QEMU's death. */
  async assertEndsAs(chain: readonly string[], extraNodes: readonly string[] = []): Promise<void> {
    assert.deepEqual(await this.eye.execute("query-jobs"), []);
    assert.deepEqual(await this.chain(), chain);
    const expected = [...chain.flatMap((name) => [`n-${name}`, `f-${name}`]), ...extraNodes].toSorted();
    assert.deepEqual(await this.openNodes(), expected);
    await this.assertHolds(chain[0] ?? "");
  }

  /** The same, without asking how QEMU's graph is. */
  async assertHolds(active: string): Promise<void> {
    process.kill(Number(readFileSync(this.rig.path("pid"), "utf8")), "SIGKILL");
    await this.eye.closed;
    assert.ok(this.read(active).equals(this.#expected), `${active} does not hold what the guest wrote`);
  }

  async close(): Promise<void> {
    await this.rig.close();
  }
}
