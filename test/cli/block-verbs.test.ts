import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { OperationView } from "../../src/api-types/index.ts";
import type { FakeFacade } from "../http/fake-facade.ts";
import { createIo, runCli } from "./run-cli.ts";
import { serveCli } from "./serve-cli.ts";

/** Resolves with its id once an operation of `facade` is watched. */
function nextWatch(facade: FakeFacade): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const watch = facade.watchOperation.bind(facade);
  facade.watchOperation = (id, signal) => {
    setImmediate(resolve, id);
    return watch(id, signal);
  };
  return promise;
}

/** The job of the operation is ready, as a copy's is when all is copied. */
function makeReady(facade: FakeFacade, id: string): void {
  for (const [target, job] of facade.jobs) {
    if (job.operation === id) facade.jobs.set(target, { ...job, state: "ready", doneBytes: job.totalBytes });
  }
  facade.changeOperation(id, { state: "succeeded", step: "ready", progress: [] });
}

async function serveWithDomain() {
  const s = await serveCli();
  s.facade.addDomain("vm");
  const refused = async (argv: readonly string[], code: number, words: RegExp) => {
    const answer = await s.cli(...argv);
    assert.deepEqual([answer.code, answer.stdout], [code, ""], argv.join(" "));
    assert.match(answer.stderr, words);
  };
  /** Runs a command that follows its operation, and lets `act` move it on. */
  const follow = async (argv: readonly string[], act: (id: string) => void) => {
    const watched = nextWatch(s.facade);
    const ended = runCli(["-c", s.socketPath, ...argv], createIo({ cwd: s.directory }));
    act(await watched);
    return ended;
  };
  return { ...s, refused, follow, [Symbol.asyncDispose]: () => s[Symbol.asyncDispose]() };
}

test("blockcopy returns at once, and blockjob shows, limits and ends the job", async () => {
  await using s = await serveWithDomain();
  const argv = ["blockcopy", "vm", "vda", "--dest", "c.raw", "--format", "raw", "--shallow", "--bandwidth", "10"];
  assert.equal((await s.cli(...argv, "--reuse-external", "--blockdev")).stdout, "Block Copy started\n");
  const dest = join(s.directory, "c.raw");
  assert.deepEqual(s.facade.requests.at(-1)?.args, [
    "vm",
    "vda",
    { dest, destType: "block", format: "raw", shallow: true, reuseExternal: true, bytesPerS: 10 * 2 ** 20 },
  ]);
  await s.refused(["blockcopy", "vm", "vda", "/d"], 1, /is busy/);

  assert.equal(
    (await s.cli("blockjob", "vm", "vda")).stdout,
    "Block Copy: [  0.00 %]    Bandwidth limit: 10485760 bytes/s (10.000 MiB/s)\n",
  );
  const raw = " type=Block Copy\n bandwidth=10\n cur=0\n end=1073741824\n";
  assert.equal((await s.cli("blockjob", "vm", "--path", "/ssd/vda.qcow2", "--info", "--raw")).stdout, raw);
  assert.match((await s.cli("blockjob", "vm", "vda", "--raw", "--bytes")).stdout, /^ bandwidth=10485760$/m);
  assert.partialDeepStrictEqual(JSON.parse((await s.cli("blockjob", "vm", "vda", "--json")).stdout), {
    job: { type: "copy", state: "running" },
  });
  assert.equal((await s.cli("blockjob", "vm", "vda", "--bandwidth", "4096", "--bytes")).code, 0);
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "vda", 4096]);

  await s.refused(["blockjob", "vm", "vda", "--pivot"], 1, /mirror of disk 'vda' is not ready: running/);
  makeReady(s.facade, "op-1");
  assert.match((await s.cli("blockjob", "vm", "vda")).stdout, /^Block Copy: \[100\.00 %\]/);
  const pivoted = await s.cli("blockjob", "vm", "vda", "--pivot", "--json");
  assert.match(pivoted.stdout, /"kind":"block-copy-end".*"state":"succeeded"/);
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "vda", "pivot"]);
  assert.equal((await s.cli("blockjob", "vm", "vda")).stdout, "No current block job for vda\n");
  await s.refused(["blockjob", "vm", "vda", "--abort"], 2, /no operation is running on 'vda'/);
  await s.refused(["blockjob", "vm", "vda", "--pivot"], 2, /no block job of 'vda' of domain 'vm' can pivot/);
});

test("blockjob refuses two modes, and what it cannot do", async () => {
  await using s = await serveWithDomain();
  for (const modes of [
    ["--info", "--abort"],
    ["--info", "--pivot"],
    ["--raw", "--abort"],
    ["--raw", "--bandwidth", "1"],
    ["--pivot", "--bandwidth", "1"],
  ]) {
    await s.refused(["blockjob", "vm", "vda", ...modes], 2, /mutually exclusive/);
  }
  await s.refused(["blockjob", "vm", "vda", "--async"], 1, /--async is not supported: the daemon answers when/);
  await s.refused(["blockjob", "vm", "vda", "--bandwidth", "x"], 2, /'x' is not a number of MiB\/s/);
});

test("blockcopy waits, then pivots, finishes or leaves the copy following", async () => {
  await using s = await serveWithDomain();
  for (const [option, line, how] of [
    ["--pivot", "Successfully pivoted", "pivot"],
    ["--finish", "Successfully copied", "abort"],
  ] as const) {
    const { code, stdout, stderr } = await s.follow(["blockcopy", "vm", "vda", "/c", option], (id) =>
      makeReady(s.facade, id),
    );
    assert.deepEqual([code, stdout], [0, `${line}\n`], stderr);
    assert.match(stderr, /^copy: 0\.0 %/);
    assert.deepEqual(s.facade.requests.at(-1), { method: "endBlockJob", args: ["vm", "vda", how] });
  }
  const waited = await s.follow(["blockcopy", "vm", "vda", "/c", "--wait", "--verbose", "--transient-job"], (id) =>
    makeReady(s.facade, id),
  );
  assert.equal(waited.stdout, "Now in mirroring phase\n");
  assert.equal(s.facade.jobs.get("vda")?.state, "ready");
});

test("a block job that fails gives its error, and is not pivoted to", async () => {
  await using s = await serveWithDomain();
  const error = { code: "QM_JOB_FAILED", message: "disk 'vda': copy failed: no space", fields: {} };
  const failed = await s.follow(["blockcopy", "vm", "vda", "/c", "--pivot"], (id) =>
    s.facade.changeOperation(id, { state: "failed", error }),
  );
  assert.deepEqual([failed.code, failed.stdout], [1, ""]);
  assert.match(failed.stderr, /error: disk 'vda': copy failed: no space\n$/);
  assert.equal(s.facade.requests.at(-1)?.method, "blockCopy");
});

test("--timeout gives the job up when it takes too long", async (t) => {
  await using s = await serveWithDomain();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { code, stdout, stderr } = await s.follow(["blockpull", "vm", "vda", "--wait", "--timeout", "5"], () =>
    t.mock.timers.tick(5000),
  );
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /block-pull of domain 'vm' was cancelled/);
  assert.equal((await s.facade.getOperation("op-1")).state, "cancelled");
  await s.refused(["blockpull", "vm", "vda", "--timeout", "soon"], 2, /'soon' is not a number of seconds/);
});

test("blockcopy refuses what it cannot honour, each with the reason", async () => {
  await using s = await serveWithDomain();
  await s.refused(["blockcopy", "vm", "vda"], 2, /--dest is required/);
  await s.refused(["blockcopy", "vm", "vda", "/c", "--pivot", "--finish"], 2, /mutually exclusive/);
  await s.refused(["blockcopy", "vm", "vda", "/c", "--format", "vmdk"], 2, /Allowed choices are qcow2, raw/);
  for (const [option, reason] of [
    [["--async"], /--async is not supported: the daemon answers/],
    [["--xml", "f"], /--xml is not supported: --dest/],
    [["--granularity", "65536"], /--granularity is not supported: QEMU's own/],
    [["--buf-size", "1"], /--buf-size is not supported/],
    [["--synchronous-writes"], /--synchronous-writes is not supported/],
    [["--print-xml"], /--print-xml is not supported/],
  ] as const) {
    await s.refused(["blockcopy", "vm", "vda", "/c", ...option], 1, reason);
  }
  assert.equal(s.facade.requests.length, 0);
});

test("blockcommit: the active image only when it is asked for", async () => {
  await using s = await serveWithDomain();
  await s.refused(["blockcommit", "vm", "vda"], 2, /--top or --active or --pivot is required/);
  await s.refused(["blockcommit", "vm", "vda", "--active", "--base", "b", "--shallow"], 2, /mutually exclusive/);
  await s.refused(
    ["blockcommit", "vm", "vda", "--active", "--keep-overlay"],
    1,
    /--keep-overlay is not supported: a c/,
  );
  await s.refused(["blockcommit", "vm", "vda", "--active", "--delete"], 1, /--delete is not supported: images that/);
  await s.refused(["blockcommit", "vm", "vda", "--active", "--keep-relative"], 1, /--keep-relative is not supported/);
  await s.refused(["blockcommit", "vm", "vda", "--active", "--async"], 1, /--async is not supported/);
  assert.equal(s.facade.requests.length, 0);

  const begun = await s.cli("blockcommit", "vm", "vda", "5G", "--top", "t.qcow2", "--base", "/b.qcow2", "--json");
  assert.equal((JSON.parse(begun.stdout) as OperationView).id, "op-1");
  const top = join(s.directory, "t.qcow2");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "vda", { base: "/b.qcow2", top, bytesPerS: 5 * 2 ** 30 }]);
  assert.match((await s.cli("blockjob", "vm", "vda")).stdout, /^Block Commit: /);
  assert.equal((await s.cli("blockjob", "vm", "vda", "--abort")).code, 0);

  const argv = ["blockcommit", "--domain", "vm", "--path", "/ssd/vda.qcow2", "--shallow", "--pivot"];
  const ended = await s.follow(argv, (id) => s.facade.changeOperation(id, { state: "succeeded" }));
  assert.equal(ended.stdout, "Successfully pivoted\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "vda", { shallow: true }]);
});

test("blockpull, for a while or to its end", async () => {
  await using s = await serveWithDomain();
  assert.equal((await s.cli("blockpull", "vm", "vda", "--base", "b.qcow2")).stdout, "Block Pull started\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "vda", { base: join(s.directory, "b.qcow2") }]);
  s.facade.jobs.clear();
  const ended = await s.follow(["blockpull", "vm", "vda", "--wait", "--bandwidth", "1M", "--bytes"], (id) =>
    s.facade.changeOperation(id, { state: "succeeded" }),
  );
  assert.equal(ended.stdout, "Pull complete\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "vda", { bytesPerS: 2 ** 20 }]);
  await s.refused(["blockpull", "vm", "vda", "--async"], 1, /--async is not supported/);
  await s.refused(["blockpull", "vm", "vdx"], 1, /no disk 'vdx'/);
});

test("blockresize counts in KiB", async () => {
  await using s = await serveWithDomain();
  assert.equal((await s.cli("blockresize", "vm", "vda", "2048")).stdout, "Block device 'vda' is resized\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "vda", 2 * 2 ** 20]);
  for (const [size, sizeBytes] of [
    ["512B", 512],
    ["3GB", 3e9],
    ["3GiB", 3 * 2 ** 30],
  ] as const) {
    const json = JSON.parse((await s.cli("blockresize", "vm", "--path", "vda", "--size", size, "--json")).stdout);
    assert.deepEqual(json, { domain: "vm", target: "vda", sizeBytes });
  }
  await s.refused(["blockresize", "vm", "vda", "big"], 2, /'big' is not a size/);
  await s.refused(["blockresize", "vm", "vda", "0"], 2, /cannot have the size 0/);
  assert.equal((await s.cli("blockresize", "vm", "vda")).code, 2);
});
