import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";

const demo = fileURLToPath(new URL("../../examples/demo/main.ts", import.meta.url));
const limits = { timeout: 180_000 };

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "qm-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

function startDemo() {
  return spawn(process.execPath, [demo, "--json"], {
    env: { ...process.env, TMPDIR: directory },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function endOf(child: ChildProcess): Promise<unknown> {
  return child.exitCode ?? (await once(child, "exit"))[0];
}

test("the demo keeps every promise, says so as JSON, and leaves nothing behind", limits, async () => {
  const child = startDemo();
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), endOf(child)]);
  assert.equal(status, 0, stderr);
  const summary = JSON.parse(stdout) as Record<string, unknown>;
  assert.partialDeepStrictEqual(summary, {
    disks: 3,
    lostWrites: 0,
    damagedBlocks: 0,
    instantConsistent: true,
    allOnTarget: true,
  });
  for (const name of ["acknowledgedWrites", "pivotStallMs", "migrationMs", "elapsedMs"]) {
    assert.ok(Number(summary[name]) > 0, name);
  }
  assert.match(stderr, /guest's vda -> source\/vda\.qcow2\n[^]*guest's vda -> target\/vda\.qcow2\n/);
  assert.deepEqual(await readdir(directory), []);
});

const interruptions: Readonly<Record<string, (child: ReturnType<typeof startDemo>) => void>> = {
  "interrupted by Ctrl-C": (child) => void child.kill("SIGINT"),
  "left by the reader of its output": (child) => void child.stderr.destroy(),
};

for (const [name, interrupt] of Object.entries(interruptions)) {
  test(`${name} while it copies, the demo ends its guest and daemon and removes its files`, limits, async () => {
    const child = startDemo();
    child.stdout.resume();
    let output = "";
    await new Promise<void>((resolve) => {
      child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
        output += chunk;
        if (output.includes("mirror  ")) resolve();
      });
      child.once("exit", () => resolve());
    });
    interrupt(child);
    assert.equal(await endOf(child), 130, output);
    assert.deepEqual(await readdir(directory), []);
    const daemonPid = Number(/pid (\d+)/.exec(output)?.[1]);
    assert.throws(() => process.kill(daemonPid, 0), { code: "ESRCH" });
  });
}
