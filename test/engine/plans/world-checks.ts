/** What holds of a domain's files when nothing is left to do. */
import assert from "node:assert/strict";
import { activePaths, surveyWorld, type World } from "./image-world.ts";

/** Every file is needed, or it is recorded why it is there. */
export function assertNoneLeftOver(world: World): void {
  const needed = new Set([...activePaths(world).values(), ...world.foreign.keys(), ...world.brought]);
  for (const { document } of world.snapshots.values()) {
    for (const { base } of document.disks) if (base !== undefined) needed.add(base.path);
  }
  for (const path of world.images.keys()) assert.ok(needed.has(path) || world.layers.has(path), `${path} is left over`);
}

/** Layers that a whole deletion leaves have a reason, and it is the true one. */
export function assertKeptRightly(world: World): void {
  const input = surveyWorld(world);
  for (const [path, { reason }] of world.layers) {
    assert.ok(world.images.has(path), `${path} is recorded and gone`);
    if (input.active.some((one) => one.path === path)) continue;
    if (input.snapshots.some(({ disks }) => disks.some(({ base }) => base?.path === path))) continue;
    const above = input.layers.filter(({ backing }) => backing === path);
    const [only] = above;
    // Never removed: nobody but the user can say that it is not wanted.
    if (only === undefined && world.brought.has(path)) continue;
    const foreign = [path, only?.image.path ?? ""].some((one) => world.foreign.has(one));
    const merges = above.length < 2 && (only?.tags.length ?? 0) === 0 && !foreign;
    assert.ok(!merges, `${path} is kept, '${reason}': ${above.map(({ image }) => image.path).join(" ")}`);
  }
}
