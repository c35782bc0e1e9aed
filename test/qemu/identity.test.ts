import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { identifyByPidFile, isAlive, readStartTime } from "../../src/qemu/identity.ts";
import { stopQemu } from "../../src/qemu/process.ts";
import { isQmError } from "../../src/base/errors.ts";

const uuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

it("reads a start time in spite of parentheses in the process's name", async () => {
  const program = "process.title = 'a) Z 1 (b'; console.log('named'); process.stdin.resume()";
  const child = spawn(process.execPath, ["--eval", program], { stdio: ["pipe", "pipe", "ignore"] });
  try {
    await once(child.stdout, "data");
    const pid = child.pid ?? 0;
    assert.match(readFileSync(`/proc/${pid}/stat`, "latin1"), /\(a\) Z 1/);
    assert.match(readStartTime(pid) ?? "", /^\d{2,}$/);
    assert.ok(isAlive({ pid, startTimeTicks: readStartTime(pid) ?? "", qmpSocket: "", uuid }));
    assert.ok(!isAlive({ pid, startTimeTicks: "1", qmpSocket: "", uuid }));
  } finally {
    child.kill("SIGKILL");
  }
});

it("takes a zombie for dead", async () => {
  // The shell starts `sleep 0`, then becomes a program that never waits for it.
  const parent = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] });
  try {
    const [line] = (await once(parent.stdout, "data")) as [Buffer];
    const pid = Number.parseInt(line.toString(), 10);
    const isZombie = (): boolean => readFileSync(`/proc/${pid}/stat`, "latin1").includes(") Z ");
    // Nothing tells when a child of somebody else has ended.
    for (let tries = 0; tries < 200 && !isZombie(); tries++) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(isZombie());
    assert.equal(readStartTime(pid), undefined);
  } finally {
    parent.kill("SIGKILL");
  }
});

it("does not believe a pid file that names another process", async () => {
  const directory = mkdtempSync(join(tmpdir(), "qmirror-pid-"));
  try {
    const paths = { pidFile: join(directory, "pid"), qmpSocket: join(directory, "qmp") };
    assert.equal(await identifyByPidFile(paths, uuid), undefined);
    for (const text of [String(process.pid), "-1", "nonsense", ""]) {
      writeFileSync(paths.pidFile, text);
      assert.equal(await identifyByPidFile(paths, uuid), undefined, text);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

it("stops waiting for a process that ignores SIGTERM when it is cancelled", async () => {
  const program = "process.on('SIGTERM', () => {}); console.log('ready'); process.stdin.resume()";
  const child = spawn(process.execPath, ["--eval", program], { stdio: ["pipe", "pipe", "ignore"] });
  try {
    await once(child.stdout, "data");
    const pid = child.pid ?? 0;
    const identity = { pid, startTimeTicks: readStartTime(pid) ?? "", qmpSocket: "", uuid };
    const waiting = stopQemu(identity, { force: false, signal: AbortSignal.timeout(100) });
    await assert.rejects(waiting, (error) => isQmError(error, "QM_CANCELLED"));
    assert.ok(isAlive(identity));
    await stopQemu(identity, { force: true });
    assert.ok(!isAlive(identity));
  } finally {
    child.kill("SIGKILL");
  }
});
