import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { test } from "node:test";
import { ApiError } from "../../src/client/api-error.ts";
import { QmirrorClient } from "../../src/client/client.ts";
import { findDaemonPaths } from "../../src/client/daemon-paths.ts";
import { openFetchTransport } from "../../src/client/fetch-transport.ts";
import { readJsonLines } from "../../src/client/read-body.ts";
import { openUnixTransport } from "../../src/client/unix-transport.ts";
import { serve } from "../http/serve.ts";

async function connectClient() {
  const s = await serve();
  const transport = openUnixTransport(s.socketPath);
  const client = new QmirrorClient(transport.send);
  const dispose = async () => {
    transport.close();
    await s[Symbol.asyncDispose]();
  };
  return { ...s, client, [Symbol.asyncDispose]: dispose };
}

test("each call reaches its method and brings its answer back", async () => {
  await using c = await connectClient();
  const { client, facade } = c;
  assert.deepEqual(await client.version(), { version: "1.2.3", api: "v1" });
  assert.equal((await client.defineDomain("<domain><name>a</name></domain>")).state, "shut off");
  assert.equal((await client.startDomain("a")).state, "running");
  assert.equal((await client.destroyDomain("a")).state, "shut off");
  assert.equal((await client.createDomain("<domain><name>b</name></domain>")).persistent, false);
  assert.equal((await client.attachDomain({ qmp: "/run/q", name: "c" })).adopted, true);
  assert.match(await client.domainXml("b"), /live/);
  assert.match(await client.domainXml("b", { inactive: true }), /inactive/);
  assert.equal((await client.domainDisks("b"))[0]?.target, "vda");
  await client.detachDomain("c");
  await client.undefineDomain("a");
  assert.deepEqual(
    (await client.listDomains()).map(({ name }) => name),
    ["b"],
  );
  assert.equal((await client.getDomain("b")).name, "b");

  assert.equal((await client.createSnapshot("b", { printXml: true })).snapshot, undefined);
  await client.createSnapshot("b", { name: "s", diskspecs: ["vda,mirror=/m"] });
  assert.deepEqual(
    (await client.listSnapshots("b")).map(({ name }) => name),
    ["s"],
  );
  assert.equal((await client.getSnapshot("b", "s")).mirrored, true);
  assert.match(await client.snapshotXml("b", "s"), /<name>s</);
  assert.equal((await client.restartMirrors("b", "s")).kind, "mirror-restart");
  assert.equal((await client.endMirrors("b", "s", "pivot"))?.kind, "pivot");

  const { id } = await client.migrateStorage("b", { to: "/nas" });
  assert.equal((await client.cloneStorage("b", { to: "/nas" })).kind, "clone-storage");
  assert.deepEqual((await client.listOperations({ running: true })).length, 2);
  assert.deepEqual((await client.listOperations({ running: false, domain: "b" })).length, 2);
  await client.setSpeed(id, 5);
  assert.deepEqual(facade.requests.at(-1), { method: "setSpeed", args: [id, 5] });
  assert.equal((await client.cancelOperation(id)).state, "cancelled");
  assert.equal((await client.getOperation(id)).state, "cancelled");
  assert.equal((await client.doctor()).length, 2);
});

test("snapshots are filtered, chosen, reverted to and deleted", async () => {
  await using c = await connectClient();
  const { client, facade } = c;
  facade.addDomain("vm", { id: null, state: "shut off" });
  await assert.rejects(client.currentSnapshot("vm"), { code: "QM_NO_CURRENT_SNAPSHOT", status: 404 });
  for (const name of ["a", "b/?", "c"]) await client.createSnapshot("vm", { name, diskspecs: ["vda,mirror=/m"] });
  const names = async (filter: Parameters<typeof client.listSnapshots>[1]) =>
    (await client.listSnapshots("vm", filter)).map(({ name }) => name);
  assert.deepEqual(await names({ from: "a" }), ["b/?"]);
  assert.deepEqual(await names({ from: "a", descendants: true, leaves: true }), ["c"]);
  assert.deepEqual(await names({ roots: true, noLeaves: true }), ["a"]);
  assert.deepEqual(await names({ inactive: true }), []);
  assert.equal((await client.currentSnapshot("vm")).name, "c");
  assert.equal((await client.setCurrentSnapshot("vm", "b/?")).current, true);
  assert.equal((await client.revertSnapshot("vm", "a", { paused: true, force: true })).kind, "snapshot-revert");
  assert.deepEqual(facade.requests.at(-1)?.args, ["vm", "a", { paused: true, force: true }]);
  for (const name of ["a", "b/?", "c"]) assert.equal(await client.endMirrors("vm", name, "abort"), undefined);
  const preview = await client.previewDelete("vm", "a", { childrenOnly: true });
  assert.deepEqual([preview.deleted, preview.operation], [["b/?", "c"], undefined]);
  assert.equal((await client.deleteSnapshot("vm", "b/?", { metadataOnly: true })).operation, undefined);
  assert.deepEqual(facade.requests.at(-1)?.args, ["vm", "b/?", { metadataOnly: true }]);
  const deleted = await client.deleteSnapshot("vm", "a", { children: true });
  assert.deepEqual([deleted.deleted, deleted.operation?.kind], [["c", "a"], "snapshot-delete"]);
  assert.deepEqual(await names({}), []);
});

test("domain and block verbs reach their methods", async () => {
  await using c = await connectClient();
  const { client, facade } = c;
  facade.addDomain("vm");
  assert.equal((await client.suspendDomain("vm")).state, "paused");
  assert.equal((await client.resumeDomain("vm")).state, "running");
  assert.equal((await client.domainInfo("vm")).vcpus, 2);
  assert.equal((await client.freezeFilesystems("vm")).filesystems, 2);
  assert.equal((await client.thawFilesystems("vm", ["/home"])).filesystems, 1);
  await client.rebootDomain("vm", { modes: ["agent", "acpi"] });
  assert.deepEqual(facade.requests.at(-1), { method: "rebootDomain", args: ["vm", { modes: ["agent", "acpi"] }] });

  assert.equal((await client.attachDisk("vm", { xml: "<disk><target dev='vdb'/></disk>" })).target, "vdb");
  await client.detachDisk("vm", "vdb", { live: true, persistent: false });
  assert.deepEqual(facade.requests.at(-1)?.args, ["vm", "vdb", { live: true }]);
  assert.equal((await client.blockInfo("vm", "vda")).capacityBytes, 2 ** 30);
  assert.equal((await client.blockStats("vm", "vda")).wrReq, 3);
  await client.blockResize("vm", "vda", 4096);
  await assert.rejects(client.blockResize("vm", "vda", 0), { code: "QM_INVALID" });
  await assert.rejects(client.blockInfo("vm", "vdx"), { code: "QM_NO_DISK", status: 404 });

  assert.equal((await client.blockCopy("vm", "vda", { dest: "/c", shallow: true })).kind, "block-copy");
  await assert.rejects(client.blockPull("vm", "vda"), { code: "QM_DOMAIN_BUSY" });
  assert.equal((await client.blockJob("vm", "vda"))?.type, "copy");
  assert.equal((await client.setBlockJobSpeed("vm", "vda", 7)).bytesPerS, 7);
  await assert.rejects(client.endBlockJob("vm", "vda", "pivot"), { code: "QM_MIRROR_NOT_READY" });
  assert.equal((await client.endBlockJob("vm", "vda", "abort")).kind, "block-copy-end");
  assert.equal(await client.blockJob("vm", "vda"), undefined);
  assert.equal((await client.blockCommit("vm", "vda", { base: "/b" })).kind, "block-commit");

  assert.equal((await client.saveDomain("vm", { file: "/f", paused: true })).kind, "save");
  assert.equal((await client.restoreDomain({ file: "/f" })).state, "paused");
  await client.shutdownDomain("vm");
  assert.equal((await client.renameDomain("vm", "new")).name, "new");
});

test("names with odd characters arrive as they are", async () => {
  await using c = await connectClient();
  for (const name of ["a/b", "x?y#z", "100 %", "ünï", "create", "..", "-c", "\u001b[31m", "n".repeat(300)]) {
    c.facade.addDomain(name);
    assert.equal((await c.client.getDomain(name)).name, name);
  }
});

test("requests one after the other share a connection", async () => {
  await using c = await connectClient();
  let connections = 0;
  c.server.server.on("connection", () => (connections += 1));
  for (let i = 0; i < 5; i += 1) await c.client.listDomains();
  assert.equal(connections, 1);
});

test("errors keep code, message, fields, advice and status", async () => {
  await using c = await connectClient();
  await assert.rejects(c.client.getDomain("none"), (error) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.code, error.status, error.fields], ["QM_NO_DOMAIN", 404, { domain: "none" }]);
    assert.match(error.next ?? "", /qmirror list/);
    return true;
  });
  await assert.rejects(new QmirrorClient(openUnixTransport("/nonexistent/s").send).listDomains(), {
    code: "QM_DAEMON_UNREACHABLE",
    fields: { path: "/nonexistent/s", reason: "no daemon listens there", errno: "ENOENT" },
  });
});

test("an operation is watched to its end", async () => {
  await using c = await connectClient();
  c.facade.addDomain("vm");
  const { id } = await c.client.migrateStorage("vm", { to: "/nas" });
  const states: string[] = [];
  for await (const view of c.client.watchOperation(id)) {
    states.push(`${view.step} ${view.state}`);
    if (view.step === "copy") c.facade.changeOperation(id, { step: "verify" });
    else if (view.state === "running") c.facade.changeOperation(id, { state: "succeeded" });
  }
  assert.deepEqual(states, ["copy running", "verify running", "verify succeeded"]);
});

test("leaving a stream, or its signal, ends the watch in the daemon", async () => {
  await using c = await connectClient();
  const ended = () =>
    new Promise<void>((resolve) => {
      for (const signal of c.facade.watches) signal.addEventListener("abort", () => resolve());
    });
  c.facade.emit("vm", { n: 1 });
  let over: Promise<void> | undefined;
  for await (const event of c.client.watchEvents({ since: 0 })) {
    assert.equal(event.seq, 1);
    over = ended();
    break;
  }
  await over;
  const controller = new AbortController();
  for await (const event of c.client.watchEvents({ since: 0 }, controller.signal)) {
    assert.equal(event.seq, 1);
    over = ended();
    controller.abort();
  }
  await over;
});

test("a daemon that stops ends the streams: an operation's watcher is told", async () => {
  await using c = await connectClient();
  c.facade.addDomain("vm");
  const { id } = await c.client.migrateStorage("vm", { to: "/nas" });
  const watch = c.client.watchOperation(id);
  await watch.next();
  const events = c.client.watchEvents({ since: 0 });
  c.facade.emit("vm", {});
  await events.next();
  await c.server.close();
  await assert.rejects(watch.next(), { code: "QM_DAEMON_UNREACHABLE" });
  assert.equal((await events.next()).done, true);
});

test("lines are parsed across chunks, and split characters too", async () => {
  const bytes = new TextEncoder().encode('{"a":"ü"}\n{"b":2}\n{"cut');
  async function* oneByOne() {
    for (const byte of bytes) yield Uint8Array.of(byte);
  }
  assert.deepEqual(await Array.fromAsync(readJsonLines(oneByOne())), [{ a: "ü" }, { b: 2 }]);
});

test("the browser's transport speaks through fetch", async () => {
  await using s = await serve();
  s.facade.addDomain("vm");
  const address = await s.server.inject({ method: "GET", url: "/v1/domains" });
  const urls: string[] = [];
  const transport = openFetchTransport(async (url) => {
    urls.push(url);
    return new Response(address.body, { status: address.statusCode });
  }, "http://host");
  assert.equal((await new QmirrorClient(transport).listDomains())[0]?.name, "vm");
  assert.deepEqual(urls, ["http://host/v1/domains"]);
  const broken = openFetchTransport(() => Promise.reject(new TypeError("failed to fetch")), "http://host");
  await assert.rejects(new QmirrorClient(broken).doctor(), { code: "QM_DAEMON_UNREACHABLE" });
});

test("paths: options, then environment, then root's or the XDG directories", () => {
  const user = { isRoot: false, cwd: "/w" };
  const home = { HOME: "/h", XDG_RUNTIME_DIR: "/run/user/1" };
  assert.deepEqual(findDaemonPaths({}, {}, { isRoot: true, cwd: "/" }), {
    stateDir: "/var/lib/qmirror",
    runtimeDir: "/run/qmirror",
    socketPath: "/run/qmirror/qmirror.sock",
  });
  assert.deepEqual(findDaemonPaths(home, {}, user), {
    stateDir: "/h/.local/state/qmirror",
    runtimeDir: "/run/user/1/qmirror",
    socketPath: "/run/user/1/qmirror/qmirror.sock",
  });
  assert.equal(
    findDaemonPaths({ HOME: "/h", XDG_RUNTIME_DIR: "rel" }, {}, user).runtimeDir,
    "/h/.local/state/qmirror/run",
  );
  assert.equal(findDaemonPaths({ ...home, QMIRROR_STATE_DIR: "s" }, {}, user).socketPath, "/w/s/run/qmirror.sock");
  assert.equal(findDaemonPaths({ ...home, QMIRROR_SOCKET: "/a" }, { socketPath: "/b" }, user).socketPath, "/b");
});

test("the socket file is gone when the server has closed", async () => {
  const s = await serve();
  await stat(s.socketPath);
  await s.server.close();
  await assert.rejects(stat(s.socketPath), { code: "ENOENT" });
  await s[Symbol.asyncDispose]();
});
