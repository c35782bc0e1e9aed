import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { watch } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createIo, runCli } from "./run-cli.ts";

async function makeState() {
  const stateDir = await mkdtemp(join(tmpdir(), "qmirror-test-"));
  const env = { ...process.env, QMIRROR_STATE_DIR: stateDir };
  return { stateDir, env, [Symbol.asyncDispose]: () => rm(stateDir, { recursive: true }) };
}

/** Ends the daemon that a client left behind, and waits until its pid file is gone. */
async function stopDaemon(stateDir: string): Promise<void> {
  const pid = Number(await readFile(join(stateDir, "daemon.pid"), "utf8"));
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  const watcher = watch(stateDir, (_, name) => {
    if (name === "daemon.pid") resolve();
  });
  process.kill(pid, "SIGTERM");
  await gone;
  watcher.close();
}

test("several first clients at once get one daemon, which stays for the next", { timeout: 60_000 }, async () => {
  await using state = await makeState();
  const list = () => runCli(["list", "--all", "--name"], createIo({ env: state.env }));
  const results = await Promise.all([list(), list(), list()]);
  const pid = await readFile(join(state.stateDir, "daemon.pid"), "utf8");
  assert.deepEqual(results, Array(3).fill({ code: 0, stdout: "vm\n", stderr: "" }));
  assert.equal((await list()).stdout, "vm\n");
  assert.equal(await readFile(join(state.stateDir, "daemon.pid"), "utf8"), pid);
  assert.match(await readFile(join(state.stateDir, "qmirrord.log"), "utf8"), /"msg":"ready"/);
  await stopDaemon(state.stateDir);
});

test("a daemon that cannot start tells why", async () => {
  await using state = await makeState();
  const io = createIo({ env: { ...state.env, FAKE_COMPOSE_ERROR: "disk full" } });
  const { code, stderr } = await runCli(["list"], io);
  assert.equal(code, 1);
  assert.match(stderr, /^error: state file \/state: disk full\nnext: /);
  const broken = createIo({ env: state.env, daemonProgram: "/nonexistent.ts" });
  assert.match(
    (await runCli(["list"], broken)).stderr,
    /the daemon did not start: exit code 1; its log is .*qmirrord\.log/,
  );
});

test("no daemon is started for a socket that was named", async () => {
  await using state = await makeState();
  const io = createIo({ env: state.env });
  const { code, stderr } = await runCli(["list", "--connect", join(state.stateDir, "none.sock")], io);
  assert.equal(code, 1);
  assert.match(stderr, /^error: cannot reach qmirrord at .*: no daemon listens there\n$/);
  await assert.rejects(readFile(join(state.stateDir, "daemon.pid")), { code: "ENOENT" });
});
