/** Random lives of a domain in memory: every plan is carried out, torn, repeated or left lying, and looked at after every task. */
import assert from "node:assert/strict";
import { planDelete } from "../../../src/engine/plans/plan-delete.ts";
import { planRevert } from "../../../src/engine/plans/plan-revert.ts";
import { planInternalLive, planOffline } from "../../../src/engine/plans/plan-tasks.ts";
import type { TaskPlan } from "../../../src/engine/steps/task-plan.ts";
import type { Snapshot, SnapshotDisk } from "../../../src/model/snapshot.ts";
import { sampleDisk, sampleDomain } from "../../qemu/sample-domain.ts";
import {
  actInWorld,
  activePaths,
  blockBytes,
  imageAt,
  layerAt,
  makeImage,
  refOf,
  show,
  surveyWorld,
  Torn,
  undoInWorld,
  type World,
} from "./image-world.ts";
import type { Interruption, Step } from "./random-steps.ts";
import { assertKeptRightly, assertNoneLeftOver } from "./world-checks.ts";

const targets = ["vda", "vdb"] as const;
const blocksAtFirst = 5;

export class RandomDomain {
  readonly world: World;
  /** What each snapshot's disks held when it was taken. */
  readonly #held = new Map<string, ReadonlyMap<string, string>>();
  readonly #foreignHeld = new Map<string, string>();
  #present = new Map<string, string>();
  #counter = 0;

  constructor() {
    const golden = makeImage("golden", "/g/golden", blocksAtFirst);
    for (let block = 0; block < blocksAtFirst; block += 2) golden.data.set(block, 1000 + block);
    const disks = targets.map((target) => makeImage(target, `/i/${target}`, blocksAtFirst, golden.ref.path));
    this.world = {
      images: new Map([golden, ...disks].map((image) => [image.ref.path, image])),
      definition: sampleDomain({
        disks: targets.map((target) => sampleDisk({ target, source: refOf(`/i/${target}`) })),
      }),
      running: undefined,
      snapshots: new Map(),
      current: undefined,
      layers: new Map(),
      foreign: new Map([["/g/golden", "domain 'other'"]]),
      brought: new Set(["/g/golden", ...disks.map(({ ref }) => ref.path)]),
      established: new Set(),
      loaded: undefined,
    };
    this.#foreignHeld.set("/g/golden", show(this.world, "/g/golden"));
    this.#look();
  }

  take(step: Step): void {
    switch (step.do) {
      case "write":
        this.#write(targets[step.disk] ?? "vda", step.block);
        break;
      case "grow":
        this.#grow(targets[step.disk] ?? "vda");
        break;
      case "power":
        this.world.running = this.world.running === undefined ? activePaths(this.world) : undefined;
        break;
      case "snapshot":
        this.#takeSnapshot(step.kinds);
        break;
      case "revert":
        this.#revert(
          this.#pick(step.which, false),
          (["off", "paused", "running"] as const)[step.after] ?? "off",
          step.stop,
        );
        break;
      case "delete":
        this.#delete(this.#pick(step.which, true), step.mode, step.stop);
        break;
      case "clone":
        this.#clone(this.#pick(step.which, false));
        break;
      case "end-clones":
        for (const path of this.world.foreign.keys()) {
          if (path.startsWith("/c/")) this.world.images.delete(path);
          if (path !== "/g/golden") this.world.foreign.delete(path);
        }
        for (const path of this.#foreignHeld.keys()) if (path.startsWith("/c/")) this.#foreignHeld.delete(path);
    }
    this.check();
  }

  /** What was left lying is asked for again, to its end. */
  finish(): void {
    this.take({ do: "end-clones" });
    for (;;) {
      const left = [...this.world.snapshots.values()].find(({ deleting }) => deleting);
      if (left === undefined) break;
      this.world.running = undefined;
      this.#delete(left.document.name, 0, { at: 0, how: "none", tear: false });
    }
    this.check();
    assertNoneLeftOver(this.world);
  }

  check(): void {
    this.#checkSnapshots();
    for (const [disk, path] of activePaths(this.world)) {
      assert.equal(show(this.world, path), this.#present.get(disk), `what ${disk} shows now, in ${path}`);
    }
  }

  #checkSnapshots(): void {
    const { world } = this;
    for (const { document, deleting } of world.snapshots.values()) {
      if (deleting) continue;
      for (const { target, snapshot, base } of document.disks) {
        if (base === undefined) continue;
        const shown = show(world, base.path, snapshot === "internal" ? document.name : undefined);
        assert.equal(shown, this.#held.get(document.name)?.get(target), `${document.name}, ${target} in ${base.path}`);
      }
    }
    for (const [path, held] of this.#foreignHeld) assert.equal(show(world, path), held, `${path} is not ours`);
    for (const { ref, backing } of world.images.values()) {
      assert.ok(
        backing === undefined || world.images.has(backing),
        `${ref.path} stands on ${backing ?? ""}, which is gone`,
      );
    }
  }

  #write(disk: string, block: number): void {
    const path = activePaths(this.world).get(disk);
    if (path === undefined) return;
    const image = imageAt(this.world, path);
    image.data.set(block % image.blocks, ++this.#counter);
    this.#look();
  }

  #grow(disk: string): void {
    const image = imageAt(this.world, activePaths(this.world).get(disk) ?? "");
    // An internal snapshot of another size takes its image's size along.
    if (image.tags.size > 0 || image.blocks > 6) return;
    image.blocks++;
    this.#look();
  }

  #look(): void {
    this.#present = new Map([...activePaths(this.world)].map(([disk, path]) => [disk, show(this.world, path)]));
  }

  #pick(which: number, deleting: boolean): string | undefined {
    const names = [...this.world.snapshots.values()].filter((one) => deleting || !one.deleting);
    return names[which % Math.max(names.length, 1)]?.document.name;
  }

  #takeSnapshot(wanted: readonly number[]): void {
    const { world } = this;
    const name = `s${++this.#counter}`;
    const runs = world.running !== undefined;
    // A running domain has one kind at a time.
    const internal = runs && wanted[0] === 2;
    const kinds = targets.map((_, index) =>
      internal ? 2 : runs ? Math.min(wanted[index] ?? 0, 1) : (wanted[index] ?? 0),
    );
    if (kinds.every((kind) => kind === 0)) return;
    const active = activePaths(world);
    const disks = targets.map((target, index): SnapshotDisk => {
      const base = refOf(active.get(target) ?? "");
      if (kinds[index] === 2) return { target, snapshot: "internal", base };
      const source = refOf(`/i/${target}.${name}`);
      return kinds[index] === 1 ? { target, snapshot: "external", source, base } : { target, snapshot: "no" };
    });
    const document: Snapshot = {
      name,
      ...(world.current === undefined ? {} : { parent: world.current }),
      creationTime: 1,
      state: !runs ? "shutoff" : internal ? "running" : "disk-snapshot",
      ...(internal ? { memory: { snapshot: "internal" } } : {}),
      domainUuid: world.definition.uuid,
      domainName: world.definition.name,
      disks,
    };
    const input = { ...this.#common(), document, config: { domain: world.definition }, forgotten: false };
    this.#held.set(name, new Map(this.#present));
    if (internal) {
      this.#run(
        planInternalLive(
          input,
          disks.flatMap(({ target, base }) => (base === undefined ? [] : [{ disk: target, image: base }])),
        ),
      );
      return;
    }
    const offline = disks.flatMap(({ target, base, source }) =>
      base === undefined
        ? []
        : [
            {
              ...{ target, base, sizeBytes: imageAt(world, base.path).blocks * blockBytes, reuse: false },
              ...(source === undefined ? {} : { overlay: source }),
            },
          ],
    );
    // What a transaction does in a running QEMU comes to the same.
    this.#run(planOffline(input, offline));
    if (runs) for (const { target, source } of disks) if (source !== undefined) world.running?.set(target, source.path);
  }

  #revert(name: string | undefined, after: "off" | "paused" | "running", stop: Interruption): void {
    const { world } = this;
    const snapshot = name === undefined ? undefined : world.snapshots.get(name)?.document;
    if (snapshot === undefined) return;
    const common = this.#common();
    const disks = snapshot.disks.flatMap(({ target, snapshot: kind, base: image }) => {
      const base = image === undefined ? undefined : layerAt(world, image.path);
      if (base === undefined || (kind !== "external" && kind !== "internal")) return [];
      return [{ target, kind, base, newImage: refOf(`${base.image.path.split(".")[0] ?? ""}.${common.id}`) }];
    });
    const plan = planRevert({
      ...common,
      tree: surveyWorld(world),
      snapshot,
      definition: world.definition,
      persistent: world.definition,
      disks,
      runs: world.running !== undefined,
      after,
      withMemory: after !== "off" && snapshot.state === "running",
    });
    const before = structuredClone(world);
    world.loaded = undefined;
    const ended = this.#run(plan, stop);
    if (ended === "undone") {
      assert.deepEqual([...world.images.keys()].toSorted(), [...before.images.keys()].toSorted());
      return;
    }
    if (ended === "left") {
      // The user starts again from what is there.
      this.#revert(name, after, { at: 0, how: "none", tear: false });
      return;
    }
    const held = this.#held.get(snapshot.name);
    for (const { target } of disks) this.#present.set(target, held?.get(target) ?? "");
    assert.equal(world.current, name);
    assert.equal(world.running !== undefined, after !== "off");
    if (snapshot.memory !== undefined && after !== "off") assert.equal(world.loaded, name);
    for (const path of activePaths(world).values()) {
      const above = [...world.images.values()].filter(({ backing }) => backing === path).map(({ ref }) => ref.path);
      const wanted = above.filter((one) => !(world.layers.get(one)?.reason ?? "").startsWith("its data is in"));
      assert.deepEqual(wanted, [], `what stands on ${path}, which is written to`);
    }
    // A copy that was made to load memory from keeps nothing of it.
    for (const { ref, tags } of world.images.values()) {
      for (const tag of tags.keys()) {
        const known = world.snapshots.get(tag)?.document.disks.some(({ base }) => base?.path === ref.path);
        assert.ok(known, `${ref.path} has ${tag}`);
      }
    }
  }

  #delete(name: string | undefined, mode: number, stop: Interruption): void {
    const { world } = this;
    if (name === undefined) return;
    const all = [...world.snapshots.values()].map(({ document }) => document);
    const below = (parent: string): string[] =>
      all.filter((one) => one.parent === parent).flatMap((one) => [one.name, ...below(one.name)]);
    const names = new Set([...(mode === 2 ? [] : [name]), ...(mode === 0 ? [] : below(name))]);
    if (names.size === 0 || this.#isRefused(names)) return;
    const left = [...world.snapshots.values()].filter(({ deleting }) => deleting).map(({ document }) => document.name);
    const { plan, fates } = planDelete({
      ...this.#common(),
      tree: surveyWorld(world),
      names,
      deleting: new Set(left),
      ...(world.current === undefined ? {} : { current: world.current }),
      bytesPerS: 0,
    });
    if (names.size === 1 && stop.how === "none") this.#checkBytes(plan);
    const ended = this.#run(plan, stop);
    assert.notEqual(ended, "undone");
    if (ended === "left") return;
    for (const removed of names) assert.ok(!world.snapshots.has(removed));
    for (const { document } of world.snapshots.values()) {
      assert.ok(document.parent === undefined || world.snapshots.has(document.parent), `${document.name} has a parent`);
    }
    for (const { fate, path } of fates) if (fate === "remove") assert.ok(!world.images.has(path));
    if ([...world.snapshots.values()].every(({ deleting }) => !deleting)) assertKeptRightly(world);
  }

  /** As the service refuses it: QEMU frees internal snapshots only in images that the guest writes to. */
  #isRefused(names: ReadonlySet<string>): boolean {
    const { world } = this;
    return [...names].some((name) =>
      world.snapshots.get(name)?.document.disks.some(({ target, snapshot, base }) => {
        const active = world.running?.get(target);
        if (snapshot !== "internal" || base === undefined) return false;
        if (world.foreign.has(base.path)) return true;
        return active !== undefined && active !== base.path;
      }),
    );
  }

  /** One merge of a disk's layers moves no more than the smaller of the two; sizes are all that may forbid the cheaper way. */
  #checkBytes(plan: TaskPlan): void {
    const merges = plan.tasks.filter((task) => task.task === "merge-down" || task.task === "pull-up");
    for (const task of merges) {
      if (merges.filter(({ disk }) => disk === task.disk).length > 1) continue;
      const [top, base] = [task.top.path, task.task === "merge-down" ? task.base.path : task.from[0].path];
      const layers = [layerAt(this.world, top), layerAt(this.world, base)];
      const least = Math.min(...layers.map((layer) => layer?.dataBytes ?? 0));
      assert.ok(task.bytes <= least, `${task.task} ${top} ${base} moves ${task.bytes}, the smaller layer has ${least}`);
    }
  }

  #clone(name: string | undefined): void {
    const { world } = this;
    const base =
      name === undefined
        ? undefined
        : world.snapshots.get(name)?.document.disks.find((disk) => disk.snapshot === "external")?.base;
    if (base === undefined) return;
    const path = `/c/${++this.#counter}`;
    world.images.set(path, makeImage("clone", path, imageAt(world, base.path).blocks, base.path));
    this.#foreignHeld.set(path, show(world, path));
    for (let at: string | undefined = path; at !== undefined; at = world.images.get(at)?.backing) {
      world.foreign.set(at, "domain 'clone'");
    }
  }

  #common() {
    const { uuid, name } = this.world.definition;
    return { id: `r${++this.#counter}`, domain: { uuid, name } };
  }

  /** The guest writes between the tasks, where it runs, until the plan stops it. */
  #run(plan: TaskPlan, stop: Interruption = { at: 0, how: "none", tear: false }): "done" | "undone" | "left" {
    const { world } = this;
    world.established.clear();
    const at = stop.how === "none" ? -1 : stop.at % plan.tasks.length;
    for (let index = 0; index < plan.tasks.length; index++) {
      const torn = this.#act(plan, index, index === at && stop.tear);
      if (index === at) {
        if (!world.established.has(plan.decidedAt)) {
          for (let undone = index; undone >= 0; undone--) {
            const task = plan.tasks[undone];
            if (task !== undefined) undoInWorld(world, task);
          }
          this.check();
          return "undone";
        }
        if (stop.how === "leave") return "left";
        // The daemon died in the task, or behind it with nobody told: it is done again.
        this.#act(plan, index, false);
      } else assert.ok(!torn);
    }
    return "done";
  }

  #act(plan: TaskPlan, index: number, tear: boolean): boolean {
    const { world } = this;
    let torn = false;
    try {
      actInWorld(world, plan, index, tear);
    } catch (error) {
      if (!(error instanceof Torn)) throw error;
      torn = true;
    }
    this.#checkSnapshots();
    const stopsLater = plan.tasks.some(({ task }) => task === "stop-machine");
    if (plan.stoppable) this.check();
    if (
      world.running !== undefined &&
      (plan.stoppable || stopsLater) &&
      !plan.tasks.slice(0, index).some(({ task }) => task === "stop-machine")
    ) {
      for (const [disk, path] of world.running) {
        const image = imageAt(world, path);
        image.data.set(this.#counter % image.blocks, ++this.#counter);
        this.#present.set(disk, show(world, path));
      }
      this.#checkSnapshots();
    }
    return torn;
  }
}
