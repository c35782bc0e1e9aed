/** One daemon a state directory, whoever comes first. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { runDaemon } from "../../src/daemon/run-daemon.ts";
import { FakeFacade } from "../http/fake-facade.ts";

const program = fileURLToPath(new URL("fake-daemon.ts", import.meta.url));

function start(directory: string) {
  const args = [program, "--state-dir", join(directory, "state"), "--runtime-dir", join(directory, "run")];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "ignore", "ipc"] });
  return {
    child,
    report: once(child, "message").then(([report]) => report as { ready?: true; error?: { code: string } }),
  };
}

test("of two that start at once one runs, and the other names it", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "qmirror-two-"));
  const both = [start(directory), start(directory)];
  t.after(() => rmSync(directory, { recursive: true }));
  t.after(async () => {
    for (const { child } of both) {
      if (child.exitCode !== null) continue;
      child.kill("SIGTERM");
      await once(child, "exit");
    }
  });
  const reports = await Promise.all(both.map(({ report }) => report));
  const winner = both[reports.findIndex(({ ready }) => ready === true)];
  const refused = reports.filter(({ error }) => error !== undefined);
  assert.ok(winner !== undefined && refused.length === 1, JSON.stringify(reports));
  assert.partialDeepStrictEqual(refused[0], {
    error: { code: "QM_DAEMON_RUNNING", fields: { pid: String(winner.child.pid), path: join(directory, "state") } },
  });
});

test("a second process is refused while a daemon of this one runs, and gets the directory after it", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "qmirror-two-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const [stateDir, runtimeDir] = [join(directory, "state"), join(directory, "run")];
  const config = { stateDir, runtimeDir, socketPath: join(runtimeDir, "qmirror.sock"), logLevel: "silent" } as const;
  const compose = async () => ({ facade: new FakeFacade(), close: async () => {} });
  const first = await runDaemon(config, compose, pino({ level: "silent" }));
  const second = start(directory);
  const [code] = (await once(second.child, "exit")) as [number | null];
  assert.equal((await second.report).error?.code, "QM_DAEMON_RUNNING");
  assert.equal(code, 1);
  await first.stop();
  const third = start(directory);
  assert.equal((await third.report).ready, true);
  third.child.kill("SIGTERM");
  assert.deepEqual(await once(third.child, "exit"), [0, null]);
});
