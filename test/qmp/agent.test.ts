import assert from "node:assert/strict";
import test from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { connectAgent } from "../../src/qmp/index.ts";
import { servePeer, type Peer } from "./scripted-peer.ts";

function answerSync(peer: Peer, id: unknown): void {
  peer.socket.write(Uint8Array.of(0xff));
  peer.send({ return: id });
}

async function readSync(peer: Peer): Promise<unknown> {
  const { execute, arguments: args } = await peer.read();
  assert.equal(execute, "guest-sync-delimited");
  return (args as { id: unknown }).id;
}

test("the channel synchronizes once, past what was left in it, and runs one command at a time", async (t) => {
  let inFlight = 0;
  const commands: unknown[] = [];
  const path = await servePeer(t, async (peer) => {
    peer.socket.write('{"return": "left from before"}\n{"half');
    answerSync(peer, await readSync(peer));
    for (;;) {
      const { execute, arguments: args } = await peer.read();
      assert.equal(++inFlight, 1);
      commands.push(execute);
      await new Promise((resolve) => setImmediate(resolve));
      inFlight--;
      peer.send({ return: args ?? {} });
    }
  });
  const agent = await connectAgent({ path });
  t.after(() => agent.close());
  const answers = await Promise.all([agent.execute("a"), agent.execute("b", { n: 2 }), agent.execute("c")]);
  assert.deepEqual(answers, [{}, { n: 2 }, {}]);
  assert.deepEqual(commands, ["a", "b", "c"]);
});

test("after a timeout the late answers are dropped and the channel synchronizes anew", async (t) => {
  const path = await servePeer(t, async (peer) => {
    answerSync(peer, await readSync(peer));
    assert.equal((await peer.read())["execute"], "slow");
    const first = await readSync(peer);
    const second = await readSync(peer);
    peer.send({ return: "late" });
    answerSync(peer, first);
    answerSync(peer, second);
    assert.equal((await peer.read())["execute"], "next");
    peer.send({ return: "in time" });
  });
  const agent = await connectAgent({ path });
  t.after(() => agent.close());
  const isTimeout = (error: unknown) => isQmError(error, "QM_TIMEOUT");
  await assert.rejects(agent.execute("slow", undefined, { timeoutMs: 20 }), isTimeout);
  await assert.rejects(agent.execute("not even sent", undefined, { timeoutMs: 20 }), isTimeout);
  assert.equal(await agent.execute("next"), "in time");
});

test("refusals and garbage fail their command alone", async (t) => {
  const path = await servePeer(t, async (peer) => {
    answerSync(peer, await readSync(peer));
    await peer.read();
    peer.send({ error: { class: "CommandNotFound", desc: "no such command" } });
    await peer.read();
    peer.socket.write("garbage\n");
    answerSync(peer, await readSync(peer));
    await peer.read();
    peer.send({ return: 1 });
  });
  const agent = await connectAgent({ path });
  t.after(() => agent.close());
  await assert.rejects(
    agent.execute("a"),
    (error) => isQmError(error, "QM_QMP_COMMAND") && error.fields["class"] === "CommandNotFound",
  );
  await assert.rejects(agent.execute("b"), (error) => isQmError(error, "QM_QMP_PROTOCOL"));
  assert.equal(await agent.execute("c"), 1);
});

test("a command that is cancelled while it waits for its turn is never sent", async (t) => {
  const release = Promise.withResolvers<void>();
  const commands: unknown[] = [];
  const path = await servePeer(t, async (peer) => {
    answerSync(peer, await readSync(peer));
    for (;;) {
      commands.push((await peer.read())["execute"]);
      await release.promise;
      peer.send({ return: {} });
    }
  });
  const agent = await connectAgent({ path });
  t.after(() => agent.close());
  const abort = new AbortController();
  const first = agent.execute("first");
  const second = assert.rejects(agent.execute("second", undefined, { signal: abort.signal }), (error) =>
    isQmError(error, "QM_CANCELLED"),
  );
  const third = agent.execute("third");
  abort.abort();
  await second;
  release.resolve();
  await Promise.all([first, third]);
  assert.deepEqual(commands, ["first", "third"]);
});

test("a dropped channel loses the command in flight and refuses the next", async (t) => {
  const path = await servePeer(t, async (peer) => {
    answerSync(peer, await readSync(peer));
    await peer.read();
    peer.socket.destroy();
  });
  const agent = await connectAgent({ path });
  const outcomes = await Promise.allSettled([agent.execute("a"), agent.execute("b")]);
  assert.deepEqual(
    outcomes.map((outcome) => outcome.status === "rejected" && isQmError(outcome.reason) && outcome.reason.code),
    ["QM_QMP_LOST", "QM_QMP_STATE"],
  );
  assert.ok(isQmError(await agent.closed, "QM_QMP_LOST"));
  await assert.rejects(connectAgent({ path: "/nonexistent" }), (error) => isQmError(error, "QM_QMP_CONNECT"));
});
