/**
 * The host's power fails around decisions: what was not made durable is gone, daemon and QEMU with it. A slice of `main.ts`, after
 * a proof that the means does throw away what nobody synced.
 */
import assert from "node:assert/strict";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { describe, test } from "node:test";
import { CrashDisks, failPower, fileSystems, layouts, reasonAgainst } from "./crash-disk.ts";
import { runCrash, type Crash } from "./run-crash.ts";

const reasons = await Promise.all(fileSystems.map(reasonAgainst));
const reason = reasons.find((why) => why !== undefined);
const skip = reason === undefined ? false : `no power failure can be made here: ${reason}`;

describe("what a power failure throws away", { skip }, () => {
  for (const fileSystem of fileSystems) {
    for (const layout of layouts) {
      test(`${fileSystem}, ${layout}: what was not synced, and only that`, async () => {
        const disks = new CrashDisks(fileSystem, layout);
        const old = disks.path("source", "old");
        try {
          writeFileSync(old, "before");
          disks.makeDurable();
          writeFileSync(disks.path("source", "unsynced"), "lost");
          overwrite(old, "after!");
          syncName(disks.path("target", "kept"), disks.path("target"));
          failPower(disks.mountPoints);
          assert.throws(() => writeFileSync(disks.path("source", "too-late"), "x"), "no write is taken any more");
          await disks.restart();
          const unsynced = disks.path("source", "unsynced");
          assert.equal(
            existsSync(unsynced) ? readFileSync(unsynced, "utf8") : "",
            "",
            "an unsynced file is gone or empty",
          );
          assert.notEqual(readFileSync(old, "utf8"), "after!", "so is what was written over a durable one");
          assert.equal(readFileSync(disks.path("target", "kept"), "utf8"), "kept");
        } finally {
          await disks.close();
        }
      });
    }
  }
});

/** In place: a file that was cut to nothing first is flushed by XFS when it is closed. */
function overwrite(path: string, text: string): void {
  const file = openSync(path, "r+");
  writeSync(file, text);
  closeSync(file);
}

/** Contents and name, each by its own fsync. */
function syncName(path: string, directory: string): void {
  const file = openSync(path, "w");
  writeSync(file, "kept");
  fsyncSync(file);
  closeSync(file);
  const names = openSync(directory, "r");
  fsyncSync(names);
  closeSync(names);
}

const at = (point: string): Pick<Crash, "cache" | "die" | "layout"> => ({
  cache: "writeback",
  layout: "apart",
  die: { point, nth: 1 },
});

const crashes: readonly Crash[] = [
  { verb: "migrate", fileSystem: "ext4", ...at("after decide-pivot") },
  { verb: "migrate", fileSystem: "xfs", ...at("before remove-source") },
  { verb: "snapshot-pivot", fileSystem: "ext4", ...at("before decide-pivot") },
  // Removed files stay removed.
  { verb: "delete-pull", fileSystem: "xfs", ...at("the end") },
  { verb: "revert", fileSystem: "ext4", ...at("after establish") },
  { verb: "clone", fileSystem: "xfs", ...at("after finish-clone") },
];

describe("the power fails", { skip, concurrency: 2 }, () => {
  for (const crash of crashes) {
    test(`${crash.verb}, ${"point" in crash.die ? crash.die.point : ""}, ${crash.fileSystem}`, async () => {
      const { problems, leftovers } = await runCrash(crash);
      assert.deepEqual({ problems, leftovers }, { problems: [], leftovers: [] });
    });
  }
});
