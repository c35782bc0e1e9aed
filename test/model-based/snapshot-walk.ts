/** A walk through random snapshot trees of one domain with real images; after each step everything is looked at. */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { promisify } from "node:util";
import type { SnapshotCreateBody } from "../../src/api-types/index.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { ServiceRig, writeThroughDevice } from "../live/service-rig.ts";
import { clusterBytes, readChainPaths, readPatterns, readTags } from "./read-qcow2.ts";
import { SnapshotModel, targets, type Power, type Target } from "./snapshot-model.ts";

const clusters = 16;
const domain = "walk";
const mostSnapshots = 9;

/** The same numbers for the same seed, in [0, 1). */
function makeRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class SnapshotWalk {
  readonly #rig = new ServiceRig();
  readonly #random: () => number;
  readonly #model: SnapshotModel;
  readonly #golden: string;
  readonly history: string[] = [];
  /** How often each kind of step was taken. */
  readonly counts = new Map<string, number>();
  #eye: Monitor | undefined;
  #number = 0;
  #seen = new Map<string, string>();

  constructor(seed: number) {
    this.#random = makeRandom(seed);
    this.#golden = this.#makeImage("golden", undefined);
    const golden = Array.from({ length: clusters }, (_, cluster) => (cluster % 3 === 0 ? 200 + cluster : 0));
    for (const [cluster, pattern] of golden.entries()) {
      if (pattern !== 0) this.#writeOffline(this.#golden, cluster, pattern);
    }
    this.#model = new SnapshotModel({ vda: Array.from({ length: clusters }, () => 0), vdb: golden });
  }

  async open(): Promise<void> {
    const images = [this.#makeImage("vda", undefined), this.#makeImage("vdb", this.#golden)];
    await this.#rig.open();
    await this.#facade.defineDomain(this.#rig.domainXml(domain, images));
    await this.#check();
  }

  async close(): Promise<void> {
    await this.#closeEye();
    await this.#rig.close();
  }

  async step(): Promise<void> {
    await this.#choose()();
    await this.#check();
  }

  /** With the last snapshot everything that was made for them is gone. */
  async finish(): Promise<void> {
    for (const name of this.#shuffled([...this.#model.snapshots.keys()])) {
      await this.#delete(name, {});
      if (this.#model.snapshots.has(name)) {
        await this.#destroy();
        await this.#delete(name, {});
      }
      await this.#check();
    }
    for (const chain of await this.#rig.chains(domain)) {
      assert.equal(chain.filter((path) => path !== this.#golden).length, 1, `one layer is left: ${chain.join(" ")}`);
    }
  }

  get #facade() {
    return this.#rig.facade;
  }

  #choose(): () => Promise<void> {
    const { snapshots, power } = this.#model;
    const name = this.#pick([...snapshots.keys()]);
    const choices: [number, (() => Promise<void>) | undefined][] = [
      [3, () => this.#write()],
      [snapshots.size < mostSnapshots ? 6 : 0, () => this.#create()],
      [3, name === undefined ? undefined : () => this.#revert(name)],
      [snapshots.size < mostSnapshots / 2 ? 1 : 5, name === undefined ? undefined : () => this.#deleteSome(name)],
      [1, name === undefined ? undefined : () => this.#redefine(name)],
      [power === "off" ? 4 : 0, () => this.#start()],
      [1, () => this.#restartService()],
      [power === "off" ? 0 : 1, () => this.#destroy()],
      [power === "off" ? 0 : 1, () => this.#pauseOrResume()],
    ];
    const possible = choices.flatMap(([weight, take]) =>
      take === undefined ? [] : Array<typeof take>(weight).fill(take),
    );
    return this.#pick(possible) ?? (() => this.#write());
  }

  async #write(): Promise<void> {
    const writes = Array.from({ length: 1 + this.#below(4) }, () => ({
      target: this.#pick(targets) ?? "vda",
      cluster: this.#below(clusters),
      pattern: 1 + (this.#number++ % 199),
    }));
    this.#note("write", writes.map(({ target, cluster, pattern }) => `${target}[${cluster}]=${pattern}`).join(" "));
    for (const { target, cluster, pattern } of writes) {
      if (this.#model.power === "off") this.#writeOffline(await this.#activePath(target), cluster, pattern);
      else await writeThroughDevice(await this.#watch(), target, pattern, (cluster * clusterBytes) / 1024);
      this.#model.write(target, cluster, pattern);
    }
  }

  async #create(): Promise<void> {
    const name = `s${++this.#number}`;
    const { power } = this.#model;
    const one = this.#pick(targets) ?? "vda";
    const other = targets.filter((target) => target !== one);
    const spec = (kinds: Partial<Record<Target, string>>): string[] =>
      targets.map((target) => `${target},snapshot=${kinds[target] ?? "no"}`);
    const memspec = this.#rig.image(`${name}.mem`);
    const all = [...targets];
    const internal = { vda: "internal", vdb: "internal" };
    const external = { vda: "external", vdb: "external" };
    type Way = { kind: string; body: SnapshotCreateBody; held: Target[]; after: Power; internal: boolean };
    const off: Way[] = [
      { kind: "external", body: { diskspecs: spec(external) }, held: all, after: "off", internal: false },
      { kind: "internal", body: { diskspecs: spec(internal) }, held: all, after: "off", internal: true },
      {
        kind: "mixed",
        body: { diskspecs: spec({ ...internal, [one]: "external" }) },
        held: all,
        after: "off",
        internal: true,
      },
      {
        kind: "external one",
        body: { diskspecs: spec({ [one]: "external" }) },
        held: [one],
        after: "off",
        internal: false,
      },
    ];
    const on: Way[] = [
      { kind: "disk-only", body: { diskOnly: true }, held: all, after: "off", internal: false },
      {
        ...{ kind: "disk-only one", body: { diskOnly: true, diskspecs: [`${other[0] ?? ""},snapshot=no`] } },
        ...{ held: [one], after: "off", internal: false },
      },
      { kind: "full internal", body: {}, held: all, after: power, internal: true },
      {
        kind: "full external",
        body: { memspec, live: this.#below(2) === 0 },
        held: all,
        after: power,
        internal: false,
      },
    ];
    const way = this.#pick(power === "off" ? off : on);
    if (way === undefined) return;
    this.#note(`create ${way.kind}`, name);
    await this.#facade.createSnapshot(domain, { name, ...way.body });
    this.#model.take(name, way.held, way.after, way.internal);
  }

  async #revert(name: string): Promise<void> {
    const request = this.#pick([{}, {}, { running: true }, { paused: true }]) ?? {};
    this.#note("revert", `${name} ${JSON.stringify(request)}`);
    await this.#closeEye();
    await this.#facade.revertSnapshot(domain, name, request);
    this.#model.revert(name, "running" in request ? "running" : "paused" in request ? "paused" : undefined);
  }

  async #deleteSome(name: string): Promise<void> {
    await this.#delete(name, this.#pick([{}, {}, {}, { children: true }, { childrenOnly: true }]) ?? {});
  }

  async #delete(name: string, request: { children?: true; childrenOnly?: true }): Promise<void> {
    const [, ...below] = this.#model.subtree(name);
    const doomed = request.childrenOnly === true ? below : request.children === true ? [name, ...below] : [name];
    this.#note("delete", `${name} ${JSON.stringify(request)}`);
    const { deleted } = await this.#facade.deleteSnapshot(domain, name, request);
    assert.deepEqual(deleted.toSorted(), doomed.toSorted());
    this.#model.remove(doomed);
  }

  /** Forgets a snapshot and all below it, and records them again from their documents. */
  async #redefine(name: string): Promise<void> {
    const names = this.#model.subtree(name);
    const { current } = this.#model;
    this.#note("redefine", names.join(" "));
    const documents: [string, string][] = [];
    for (const one of names) documents.push([one, await this.#facade.snapshotXml(domain, one)]);
    await this.#facade.deleteSnapshot(domain, name, { children: true, metadataOnly: true });
    for (const [one, xml] of documents) {
      await this.#facade.createSnapshot(domain, { xml, redefine: true, ...(one === current ? { current: true } : {}) });
    }
  }

  async #start(): Promise<void> {
    this.#note("start");
    await this.#facade.startDomain(domain);
    this.#model.power = "running";
  }

  async #destroy(): Promise<void> {
    if (this.#model.power === "off") return;
    this.#note("destroy");
    await this.#closeEye();
    await this.#facade.destroyDomain(domain);
    this.#model.power = "off";
  }

  /** QEMU runs on meanwhile. */
  async #restartService(): Promise<void> {
    this.#note("restart the service");
    await this.#rig.closeService();
    await this.#rig.open();
  }

  async #pauseOrResume(): Promise<void> {
    const pause = this.#model.power === "running";
    this.#note(pause ? "suspend" : "resume");
    await (pause ? this.#facade.suspendDomain(domain) : this.#facade.resumeDomain(domain));
    this.#model.power = pause ? "paused" : "running";
  }

  async #check(): Promise<void> {
    const { power, snapshots, current, present } = this.#model;
    assert.equal((await this.#facade.getDomain(domain)).state, power === "off" ? "shut off" : power);
    const views = await this.#facade.listSnapshots(domain);
    const shown = views.map((view) => ({
      name: view.name,
      parent: view.parent,
      current: view.current,
      deleting: view.deleting === true,
    }));
    const wanted = [...snapshots.values()]
      .map(({ name, parent }) => ({ name, parent, current: name === current, deleting: false }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
    assert.deepEqual(shown, wanted);
    if (power !== "off") await this.#checkQemu();
    const reachable = new Set<string>([this.#golden, this.#rig.image("vda.qcow2"), this.#rig.image("vdb.qcow2")]);
    const active = new Map<Target, string>();
    const inactive = await this.#facade.domainXml(domain, { inactive: true });
    for (const target of targets) {
      const path = await this.#activePath(target);
      active.set(target, path);
      for (const one of readChainPaths(path)) reachable.add(one);
      assert.ok(
        inactive.includes(`<source file="${path}"`) || inactive.includes(`<source file='${path}'`),
        `${path}: ${inactive}`,
      );
      assert.deepEqual(readPatterns(path), present[target], `${target} shows its present state`);
    }
    for (const { name, contents } of snapshots.values()) await this.#checkSnapshot(name, contents, reachable);
    this.#checkFiles(reachable);
    await this.#checkImages(new Set(active.values()));
  }

  async #checkSnapshot(
    name: string,
    contents: Partial<Record<Target, readonly number[]>>,
    reachable: Set<string>,
  ): Promise<void> {
    const { disks, memory } = await this.#facade.getSnapshot(domain, name);
    const xml = await this.#facade.snapshotXml(domain, name);
    if (memory?.file !== undefined) reachable.add(memory.file);
    for (const { target, snapshot } of disks) {
      const held = contents[target as Target];
      if (held === undefined) continue;
      // Where it is said to be, for everybody: in the definition that the document carries.
      const path = sourceOf(xml, target);
      for (const one of readChainPaths(path)) reachable.add(one);
      const tag = snapshot === "internal" ? name : undefined;
      assert.deepEqual(readPatterns(path, tag), held, `snapshot ${name} holds ${target}, in ${path}`);
    }
  }

  async #checkQemu(): Promise<void> {
    const eye = await this.#watch();
    assert.deepEqual(await eye.execute("query-jobs"), []);
    for (const target of targets) {
      await eye.execute("human-monitor-command", {
        "command-line": `qemu-io -d /machine/peripheral/${target}/virtio-backend "flush"`,
      });
    }
  }

  #checkFiles(reachable: ReadonlySet<string>): void {
    const stray = this.#files().filter((path) => !reachable.has(path));
    assert.deepEqual(stray, [], "files that nobody needs");
  }

  /** Only what has changed since the last time, and is not being written to. */
  async #checkImages(active: ReadonlySet<string>): Promise<void> {
    const { power, snapshots } = this.#model;
    const now = new Map(this.#files().map((path) => [path, `${statSync(path).size} ${statSync(path).mtimeMs}`]));
    const changed = [...now]
      .filter(([path, stamp]) => this.#seen.get(path) !== stamp && !path.endsWith(".mem"))
      .map(([path]) => path);
    this.#seen = now;
    await Promise.all(
      changed
        .filter((path) => power === "off" || !active.has(path))
        .map((path) => promisify(execFile)("qemu-img", ["check", "-q", "-U", "-f", "qcow2", path])),
    );
    for (const path of changed) {
      for (const tag of readTags(path)) assert.ok(snapshots.has(tag), `${path} has the internal snapshot '${tag}'`);
    }
  }

  #files(): string[] {
    return readdirSync(this.#rig.path("images")).map((name) => this.#rig.image(name));
  }

  async #activePath(target: Target): Promise<string> {
    const disk = (await this.#facade.domainDisks(domain)).find((one) => one.target === target);
    const path = disk?.chain[0]?.path;
    assert.ok(path !== undefined);
    return path;
  }

  async #watch(): Promise<Monitor> {
    return (this.#eye ??= await this.#rig.watch(domain));
  }

  async #closeEye(): Promise<void> {
    const eye = this.#eye;
    this.#eye = undefined;
    await eye?.close();
  }

  #makeImage(name: string, backing: string | undefined): string {
    return this.#rig.createImage(`${name}.qcow2`, {
      size: String(clusters * clusterBytes),
      ...(backing === undefined ? {} : { backing }),
    });
  }

  #writeOffline(path: string, cluster: number, pattern: number): void {
    const command = `write -q -P ${pattern} ${cluster * clusterBytes} ${clusterBytes}`;
    execFileSync("qemu-io", ["-f", "qcow2", "-c", command, path]);
  }

  #note(kind: string, what = ""): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.history.push(`${kind} ${what}`.trim());
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[this.#below(items.length)];
  }

  #shuffled<T>(items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, rank: this.#random() }))
      .toSorted((a, b) => a.rank - b.rank)
      .map(({ item }) => item);
  }
}

/** The disk's image in the document's `<domain>`. */
function sourceOf(xml: string, target: string): string {
  const whole = /<domain [\s\S]*?<\/domain>/.exec(xml)?.[0] ?? "";
  const disk = whole.split("<disk ").find((one) => new RegExp(`<target dev=["']${target}["']`).test(one));
  const path = /<source file=["']([^"']+)["']/.exec(disk ?? "")?.[1];
  assert.ok(path !== undefined, `${target} in ${xml}`);
  return path;
}
