import assert from "node:assert/strict";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { serve } from "../http/serve.ts";
import { FakeFacade } from "../http/fake-facade.ts";
import { createIo, runCli } from "./run-cli.ts";

const launcher = fileURLToPath(new URL("../../bin/qmirror", import.meta.url));

/** Resolves once an operation of `facade` is watched. */
function nextWatch(facade: FakeFacade): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const watch = facade.watchOperation.bind(facade);
  facade.watchOperation = (id, signal) => {
    setImmediate(resolve, id);
    return watch(id, signal);
  };
  return promise;
}

test("migrate-storage on a terminal redraws one line, then tells that it is done", async () => {
  await using s = await serve();
  s.facade.addDomain("vm");
  const io = createIo({ isTty: true, columns: 60, cwd: s.directory });
  const watched = nextWatch(s.facade);
  const argv = [
    "-c",
    s.socketPath,
    "migrate-storage",
    "vm",
    "--to",
    "nas",
    "--disk",
    "vda,vdb",
    "--verify",
    "--keep-source",
  ];
  const ended = runCli(argv, io);
  const id = await watched;
  const progress = [{ target: "vda", doneBytes: 2 ** 29, totalBytes: 2 ** 30 }];
  s.facade.changeOperation(id, { progress, bytesPerS: 2 ** 27, secondsLeft: 4 });
  s.facade.changeOperation(id, { state: "succeeded", step: "done", progress: [] });
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 0);
  assert.equal(stdout, `Storage of domain 'vm' migrated to ${join(s.directory, "nas")}\n`);
  const lines = stderr.split("\r\u001b[K");
  assert.equal(lines.at(-1), "done\n");
  assert.ok(lines.every((line) => line.length < 61));
  assert.deepEqual(s.facade.requests[0]?.args[1], {
    to: join(s.directory, "nas"),
    disks: ["vda", "vdb"],
    verify: true,
    keepSource: true,
  });
});

test("elsewhere progress is a line for each step, and then one every five seconds", async () => {
  const { createProgress } = await import("../../src/cli/progress.ts");
  let nowMs = 0;
  const io = createIo({ nowMs: () => nowMs });
  const progress = createProgress(io);
  const facade = new FakeFacade();
  facade.addDomain("vm");
  const view = await facade.migrateStorage("vm", { to: "/nas" });
  const at = (ms: number, doneBytes: number, step: string) => {
    nowMs = ms;
    progress.update({ ...view, step, progress: [{ target: "vda", doneBytes, totalBytes: 1000 }] });
  };
  at(0, 0, "copy");
  at(4999, 400, "copy");
  at(5000, 500, "copy");
  at(5001, 999.9, "verify");
  progress.end();
  assert.equal(
    io.written.stderr,
    "copy: 0.0 % (0 B of 1000 B, vda)\ncopy: 50.0 % (500 B of 1000 B, vda)\nverify: 99.9 % (999.9 B of 1000 B, vda)\n",
  );
});

test("a failed and a cancelled operation give their error and its exit code; --json prints a line for each change", async () => {
  await using s = await serve();
  s.facade.addDomain("vm");
  const error = { code: "QM_VERIFY_FAILED", message: "the copy differs", fields: {}, next: "copy again" };
  const failing = nextWatch(s.facade);
  const failed = runCli(["-c", s.socketPath, "clone-storage", "vm", "--to", "/nas", "--json"]);
  s.facade.changeOperation(await failing, { state: "failed", error });
  const { code, stdout, stderr } = await failed;
  assert.equal(code, 1);
  const lines = stdout.trim().split("\n");
  assert.equal((JSON.parse(lines.at(-1) ?? "") as { state: string }).state, "failed");
  assert.equal((JSON.parse(stderr) as { error: { code: string } }).error.code, "QM_VERIFY_FAILED");

  const detached = await runCli(["-c", s.socketPath, "migrate-storage", "vm", "--to", "/nas", "--detach"]);
  assert.match(detached.stdout, /^Operation op-2 has begun/);
  const cancelled = await runCli(["-c", s.socketPath, "operation-cancel", "op-2"]);
  assert.equal(cancelled.stdout, "migrate-storage of domain 'vm' is cancelled\n");
  const watched = await runCli(["-c", s.socketPath, "operation-watch", "op-2"]);
  assert.deepEqual([watched.code, watched.stdout], [130, ""]);
});

test("Ctrl-C detaches the process from an operation that goes on, and says how to get back", async () => {
  await using s = await serve();
  s.facade.addDomain("vm");
  const child = spawn(launcher, ["-c", s.socketPath, "migrate-storage", "vm", "--to", "/nas"]);
  const stderr = text(child.stderr);
  const [first] = (await once(child.stderr, "data")) as [Buffer];
  assert.match(first.toString(), /^copy: 0\.0 %/);
  child.kill("SIGINT");
  assert.deepEqual(await once(child, "exit"), [130, null]);
  assert.match(
    await stderr,
    /operation op-1 goes on\nnext: `qmirror operation-watch op-1` watches it, `qmirror operation-cancel op-1` cancels it\n$/,
  );
  assert.equal((await s.facade.getOperation("op-1")).state, "running");
  assert.equal(s.facade.watches.size, 0);
});

test("Ctrl-C during a request that the daemon answers at its end leaves the daemon to it", async () => {
  await using s = await serve();
  s.facade.addDomain("vm");
  const { promise: gate, resolve: openGate } = Promise.withResolvers<void>();
  s.facade.gate = gate;
  const io = createIo();
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const create = s.facade.createSnapshot.bind(s.facade);
  s.facade.createSnapshot = (domain, request) => {
    resolve();
    return create(domain, request);
  };
  const ended = runCli(["-c", s.socketPath, "snapshot-create-as", "vm", "s1"], io);
  await asked;
  io.interrupt();
  const { code, stderr } = await ended;
  assert.equal(code, 130);
  assert.match(stderr, /the daemon goes on with it\nnext: /);
  openGate();
});

test("events are printed until Ctrl-C", async () => {
  await using s = await serve();
  s.facade.emit("vm", { event: "started", n: 1 });
  s.facade.emit("other", {});
  const io = createIo();
  let printed = "";
  const output = { write: (line: string) => ((printed += line), io.interrupt()), isTty: false, columns: 80 };
  const { code } = await runCli(
    ["-c", s.socketPath, "event", "vm", "--since", "0", "--loop"],
    Object.assign(io, { stdout: output }),
  );
  assert.equal(code, 0);
  assert.match(printed, /: event 'lifecycle' for domain 'vm': event=started n=1\n$/);
  assert.doesNotMatch(printed, /other/);
});
