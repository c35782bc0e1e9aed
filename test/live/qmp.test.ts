import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import type { QapiCommands, QapiEvents } from "../../src/qemu/qapi.gen.ts";
import { connectQmp } from "../../src/qmp/index.ts";
import { checkCommand, loadSchema } from "../../src/testing/schema-check.ts";

async function startQemu(t: TestContext): Promise<{ path: string; signal: (name: NodeJS.Signals) => void }> {
  const directory = await mkdtemp(join(tmpdir(), "qmirror-live-"));
  const path = join(directory, "qmp");
  const qemu = spawn(
    "qemu-system-x86_64",
    ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", `unix:${path},server=on,wait=off`, "-qmp", "stdio"],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const exited = once(qemu, "exit");
  t.after(async () => {
    qemu.kill("SIGKILL");
    await exited;
    await rm(directory, { recursive: true });
  });
  // Every monitor listens before the first one greets.
  await once(qemu.stdout, "data");
  return { path, signal: (name) => void qemu.kill(name) };
}

test("real QEMU: negotiation, pipeline, events, refusal, and its end in flight", { timeout: 20_000 }, async (t) => {
  const { path, signal } = await startQemu(t);
  const qemu = await connectQmp<QapiCommands, QapiEvents>({ path, outOfBand: true });
  t.after(() => qemu.close());
  const { qemu: version } = await qemu.execute("query-version");
  assert.deepEqual(qemu.version, version);

  const statuses = await Promise.all(Array.from({ length: 200 }, () => qemu.execute("query-status")));
  assert.ok(statuses.every(({ status }) => status === "running"));

  // In band while out of band is granted, out of band for a command that QEMU does not run so.
  await assert.rejects(
    qemu.execute("query-status", undefined, { outOfBand: true }),
    (error) => isQmError(error, "QM_QMP_COMMAND") && /OOB/i.test(String(error.fields.reason)),
  );

  const events = qemu.subscribe(["STOP", "RESUME"]);
  await qemu.execute("stop");
  await qemu.execute("cont");
  assert.deepEqual([(await events.next()).event, (await events.next()).event], ["STOP", "RESUME"]);

  await assert.rejects(
    qemu.execute("blockdev-del", { "node-name": "none" }),
    (error) => isQmError(error, "QM_QMP_COMMAND") && error.fields["class"] === "GenericError",
  );

  // Stopped first, so that it cannot answer before it dies.
  signal("SIGSTOP");
  const inFlight = Array.from({ length: 20 }, () => qemu.execute("query-status"));
  signal("SIGKILL");
  for (const outcome of await Promise.allSettled(inFlight)) {
    assert.ok(outcome.status === "rejected" && isQmError(outcome.reason, "QM_QMP_LOST"), JSON.stringify(outcome));
  }
  assert.ok(isQmError(await qemu.closed, "QM_QMP_LOST"));
  await assert.rejects(connectQmp({ path }), (error) => isQmError(error, "QM_QMP_CONNECT"));
});

test("real QEMU: a second client is not greeted, and out-of-band commands overtake", { timeout: 20_000 }, async (t) => {
  const { path } = await startQemu(t);
  const qemu = await connectQmp({ path, outOfBand: true });
  t.after(() => qemu.close());
  await assert.rejects(connectQmp({ path, connectTimeoutMs: 100 }), (error) => isQmError(error, "QM_TIMEOUT"));
  assert.deepEqual(await qemu.execute("query-yank", undefined, { outOfBand: true }), [
    { type: "chardev", id: "compat_monitor0" },
  ]);
});

test("real QEMU and the recorded schema judge commands alike", { timeout: 20_000 }, async (t) => {
  const { path } = await startQemu(t);
  const qemu = await connectQmp({ path });
  t.after(() => qemu.close());
  const schema = loadSchema();
  const commands: [string, object?][] = [
    ["query-status"],
    ["query-status", { verbose: true }],
    ["drive-reopen", {}],
    ["blockdev-add", { driver: "null-co", "node-name": "a", size: 4096, "read-zeroes": true }],
    ["blockdev-add", { driver: "null-co", "node-name": "b", size: "4096" }],
    ["blockdev-add", { driver: "null-co", "node-name": "b", filename: "x" }],
    ["blockdev-add", { driver: "raw", "node-name": "c", file: { driver: "null-co" } }],
    ["blockdev-add", { driver: "raw", "node-name": "d", file: null }],
    ["blockdev-add", { driver: "raw", "node-name": "d" }],
    ["transaction", { actions: [{ type: "blockdev-mirror", data: {} }] }],
    ["blockdev-del", { "node-name": "c" }],
  ];
  for (const [command, args] of commands) {
    const isAccepted = await qemu.execute(command, args).then(
      () => true,
      () => false,
    );
    assert.equal(checkCommand(schema, command, args).length === 0, isAccepted, `${command} ${JSON.stringify(args)}`);
  }
});
