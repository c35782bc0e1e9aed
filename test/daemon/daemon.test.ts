import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { QmirrorClient } from "../../src/client/client.ts";
import { openUnixTransport } from "../../src/client/unix-transport.ts";
import { parseDaemonCommand, type DaemonConfig } from "../../src/daemon/config.ts";
import { runDaemon } from "../../src/daemon/run-daemon.ts";
import { FakeFacade } from "../http/fake-facade.ts";

const program = fileURLToPath(new URL("fake-daemon.ts", import.meta.url));
const logger = pino({ level: "silent" });

async function makeConfig() {
  const directory = await mkdtemp(join(tmpdir(), "qmirror-test-"));
  const config: DaemonConfig = {
    stateDir: join(directory, "state"),
    runtimeDir: join(directory, "run"),
    socketPath: join(directory, "run/qmirror.sock"),
    logLevel: "info",
  };
  return { directory, config, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

function startProcess(config: DaemonConfig, env: NodeJS.ProcessEnv = {}): ChildProcess {
  const args = [program, "--state-dir", config.stateDir, "--runtime-dir", config.runtimeDir];
  return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe", "ipc"], env: { ...process.env, ...env } });
}

async function readLog({ stderr }: ChildProcess): Promise<string> {
  assert.ok(stderr);
  return text(stderr);
}

const fakeCompose = async () => ({ facade: new FakeFacade(), close: async () => {} });
const openClient = (config: DaemonConfig) => openUnixTransport(config.socketPath);

test("directories and socket are private, and all traces but the state are gone after the stop", async () => {
  await using t = await makeConfig();
  const daemon = await runDaemon(t.config, fakeCompose, logger);
  const modes = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);
  assert.equal(await modes(t.config.stateDir), "700");
  assert.equal(await modes(t.config.runtimeDir), "700");
  assert.equal(await modes(t.config.socketPath), "600");
  await Promise.all([daemon.stop(), daemon.stop()]);
  await assert.rejects(stat(t.config.socketPath), { code: "ENOENT" });
  await assert.rejects(stat(join(t.config.stateDir, "daemon.pid")), { code: "ENOENT" });
});

test("a second daemon is refused with the first one's pid; a killed one leaves no stale lock or socket", async () => {
  await using t = await makeConfig();
  const first = startProcess(t.config);
  assert.deepEqual(await once(first, "message"), [{ ready: true }, undefined]);
  await assert.rejects(runDaemon(t.config, fakeCompose, logger), {
    code: "QM_DAEMON_RUNNING",
    fields: { pid: String(first.pid), path: t.config.stateDir },
  });
  first.kill("SIGKILL");
  await once(first, "exit");
  await stat(t.config.socketPath);
  const next = await runDaemon(t.config, fakeCompose, logger);
  await next.stop();
});

test("a live socket of another state directory is not taken over, and a file in its place is not removed", async () => {
  await using t = await makeConfig();
  const daemon = await runDaemon(t.config, fakeCompose, logger);
  const other = { ...t.config, stateDir: join(t.directory, "other") };
  await assert.rejects(runDaemon(other, fakeCompose, logger), { code: "QM_DAEMON_RUNNING" });
  await daemon.stop();
  await writeFile(t.config.socketPath, "mine");
  await assert.rejects(runDaemon(t.config, fakeCompose, logger), { code: "QM_IO" });
  assert.equal(await readFile(t.config.socketPath, "utf8"), "mine");
});

test("SIGTERM ends the streams, closes the facade and exits with 0", async () => {
  await using t = await makeConfig();
  const daemon = startProcess(t.config);
  const log = readLog(daemon);
  await once(daemon, "message");
  const transport = openClient(t.config);
  const events = new QmirrorClient(transport.send).watchEvents();
  const ended = events.next();
  await new QmirrorClient(transport.send).doctor();
  daemon.kill("SIGTERM");
  assert.equal((await ended).done, true);
  assert.deepEqual(await once(daemon, "exit"), [0, null]);
  transport.close();
  assert.match(await log, /facade closed/);
});

test("a failed start reports its error, exits with its code and frees the lock", async () => {
  await using t = await makeConfig();
  const daemon = startProcess(t.config, { FAKE_COMPOSE_ERROR: "disk full" });
  const [[report], [code], log] = await Promise.all([once(daemon, "message"), once(daemon, "exit"), readLog(daemon)]);
  assert.partialDeepStrictEqual(report, { error: { code: "QM_JOURNAL", fields: { reason: "disk full" } } });
  assert.equal(code, 1);
  assert.match(log, /^error: state file \/state: disk full$/m);
  await (await runDaemon(t.config, fakeCompose, logger)).stop();
});

test("an idle daemon ends by itself, a busy one does not", { timeout: 10_000 }, async () => {
  await using t = await makeConfig();
  const facade = new FakeFacade();
  facade.addDomain("vm");
  let looked = 0;
  const { promise: busyTwice, resolve } = Promise.withResolvers<void>();
  const listDomains = facade.listDomains.bind(facade);
  facade.listDomains = () => {
    looked += 1;
    if (looked === 2) resolve();
    return listDomains();
  };
  const compose = async () => ({ facade, close: async () => {} });
  const daemon = await runDaemon({ ...t.config, idleTimeoutMs: 30 }, compose, logger);
  await busyTwice;
  const transport = openClient(t.config);
  await new QmirrorClient(transport.send).destroyDomain("vm");
  transport.close();
  await daemon.stopped;
  assert.ok(looked > 2);
});

test("options are checked", () => {
  const parse = (...argv: string[]) => parseDaemonCommand(argv, { HOME: "/h" });
  const run = parse("--state-dir", "/s", "--timeout", "5", "--log-level", "warn");
  assert.partialDeepStrictEqual(run, {
    kind: "run",
    config: { stateDir: "/s", runtimeDir: "/s/run", logLevel: "warn", idleTimeoutMs: 5000 },
  });
  assert.equal(parse("--help").kind, "help");
  assert.equal(parse("--version").kind, "version");
  for (const bad of [
    ["--timeout", "0"],
    ["--timeout", "x"],
    ["--log-level", "loud"],
    ["--nope"],
    ["--socket", `/${"x".repeat(108)}`],
  ]) {
    assert.throws(() => parse(...bad), { code: "QM_INVALID" }, bad.join(" "));
  }
});
