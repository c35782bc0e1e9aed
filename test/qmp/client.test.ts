import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { isQmError, type QmError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/error-registry.ts";
import { connectQmp, type ConnectionState, type QmpClient, type QmpConnectOptions } from "../../src/qmp/index.ts";
import { event, greetThen, greeting, servePeer, type Peer } from "./scripted-peer.ts";

const openStates: ConnectionState[] = ["connecting", "greeting", "negotiating", "running"];
const allStates: ConnectionState[] = [...openStates, "closing", "closed"];

function hasCode(code: ErrorCode, fields: Record<string, unknown> = {}): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isQmError(error), String(error));
    assert.equal(error.code, code, error.message);
    for (const [name, value] of Object.entries(fields)) assert.equal(error.fields[name], value);
    return true;
  };
}

async function connectTo(
  t: TestContext,
  script: (peer: Peer) => Promise<void> | void,
  options: Partial<QmpConnectOptions> = {},
): Promise<{ client: QmpClient; states: ConnectionState[] }> {
  const states: ConnectionState[] = [];
  const path = await servePeer(t, greetThen(script));
  const client = await connectQmp({ ...options, path, onState: (state) => states.push(state) });
  t.after(() => client.close());
  return { client, states };
}

async function echo(peer: Peer): Promise<void> {
  for (;;) {
    const { id, arguments: args } = await peer.read();
    peer.send({ return: args ?? {}, id });
  }
}

test("a connection passes through its states in order and knows QEMU's version", async (t) => {
  const { client, states } = await connectTo(t, echo);
  assert.deepEqual(states, openStates);
  assert.deepEqual(client.version, { major: 7, minor: 2, micro: 22 });
  await client.close();
  await client.close();
  assert.deepEqual(states, allStates);
  assert.equal(await client.closed, undefined);
  await assert.rejects(
    client.execute("query-status"),
    hasCode("QM_QMP_STATE", { actual: "closed", required: "running" }),
  );
});

test("commands are written in the order of the calls and matched by id in any order", async (t) => {
  const { client } = await connectTo(t, async (peer) => {
    const commands = [];
    while (commands.length < 50) commands.push(await peer.read());
    assert.deepEqual(
      commands.map((command) => command["execute"]),
      Array.from({ length: 50 }, (_, index) => `c${index}`),
    );
    for (const { id, execute } of commands.reverse()) peer.send({ return: { name: execute }, id });
  });
  const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => client.execute(`c${index}`)));
  assert.deepEqual(
    answers,
    Array.from({ length: 50 }, (_, index) => ({ name: `c${index}` })),
  );
});

test("a refusal carries the command and QEMU's words, and the connection goes on", async (t) => {
  const { client } = await connectTo(t, async (peer) => {
    const { id } = await peer.read();
    peer.send({ error: { class: "DeviceNotFound", desc: "no such node" }, id });
    await echo(peer);
  });
  await assert.rejects(
    client.execute("blockdev-del", { "node-name": "n" }),
    hasCode("QM_QMP_COMMAND", { command: "blockdev-del", class: "DeviceNotFound", reason: "no such node" }),
  );
  assert.deepEqual(await client.execute("x", { a: 1 }), { a: 1 });
});

test("a connection that drops leaves commands in flight with an unknown outcome", async (t) => {
  const { client, states } = await connectTo(t, async (peer) => {
    await peer.read();
    await peer.read();
    peer.socket.destroy();
  });
  const events = client.subscribe();
  const outcomes = await Promise.allSettled([client.execute("a"), client.execute("b")]);
  for (const [index, outcome] of outcomes.entries()) {
    assert.equal(outcome.status, "rejected");
    hasCode("QM_QMP_LOST", { command: index === 0 ? "a" : "b" })(outcome.reason);
  }
  hasCode("QM_QMP_LOST")(await client.closed);
  assert.deepEqual(states, allStates);
  await assert.rejects(events.next(), hasCode("QM_QMP_LOST"));
  await assert.rejects(client.subscribe().next(), hasCode("QM_QMP_LOST"));
});

test("closing while a command is in flight leaves its outcome unknown", async (t) => {
  const { client } = await connectTo(t, async (peer) => void (await peer.read()));
  const lost = assert.rejects(client.execute("a"), hasCode("QM_QMP_LOST", { command: "a" }));
  await client.close();
  await lost;
  assert.equal(await client.closed, undefined);
});

const violations: Record<string, (peer: Peer, id: unknown) => void> = {
  "text that is not JSON": (peer) => peer.socket.write("garbage\n"),
  "an object of no known kind": (peer) => peer.send({ hello: 1 }),
  "bytes that are not UTF-8": (peer) => peer.socket.write(Buffer.from([0x7b, 0xff, 0x7d, 0x0a])),
  "half a line": (peer) => peer.socket.end('{"return":'),
  "a line that is too long": (peer) => peer.socket.write("x".repeat(5000)),
  "an answer to a command that was never sent": (peer, id) => peer.send({ return: {}, id: `${String(id)}000` }),
  "an answer without an id": (peer) => peer.send({ return: {} }),
  "an error without an id": (peer) => peer.send({ error: { class: "GenericError", desc: "JSON parse error" } }),
  "a second answer": (peer, id) =>
    peer.send({ return: {}, id: String(id).replace(/[0-9]+$/, (n) => String(Number(n) - 1)) }),
  "a second greeting": (peer) => peer.send(greeting),
};
for (const [violation, violate] of Object.entries(violations)) {
  test(`${violation} ends the connection with a protocol error`, async (t) => {
    const { client, states } = await connectTo(
      t,
      async (peer) => {
        violate(peer, (await peer.read())["id"]);
      },
      { maxLineBytes: 4096 },
    );
    await assert.rejects(client.execute("a"), (error: QmError) => {
      hasCode("QM_QMP_LOST")(error);
      return hasCode("QM_QMP_PROTOCOL")(error.cause);
    });
    hasCode("QM_QMP_PROTOCOL")(await client.closed);
    assert.deepEqual(states, allStates);
  });
}

test("multi-byte characters split over packets arrive whole", async (t) => {
  const text = "grüße 日本 😀";
  const { client } = await connectTo(t, async (peer) => {
    const { id } = await peer.read();
    peer.socket.setNoDelay(true);
    for (const byte of Buffer.from(JSON.stringify({ return: text, id }) + "\n")) {
      await new Promise<void>((sent) => peer.socket.write(Uint8Array.of(byte), () => sent()));
    }
  });
  assert.equal(await client.execute("a"), text);
});

test("a cancelled or timed-out command stays in flight, and its late answer is no surprise", async (t) => {
  const release = Promise.withResolvers<void>();
  const { client } = await connectTo(t, async (peer) => {
    const late = [await peer.read(), await peer.read()];
    await release.promise;
    for (const { id } of late) peer.send({ return: {}, id });
    await echo(peer);
  });
  const abort = new AbortController();
  const cancelled = assert.rejects(
    client.execute("a", undefined, { signal: abort.signal }),
    hasCode("QM_CANCELLED", { what: "a" }),
  );
  abort.abort();
  await cancelled;
  await assert.rejects(
    client.execute("b", undefined, { timeoutMs: 5 }),
    hasCode("QM_TIMEOUT", { what: "b", timeoutMs: 5 }),
  );
  await assert.rejects(client.execute("never sent", undefined, { signal: abort.signal }), hasCode("QM_CANCELLED"));
  release.resolve();
  assert.deepEqual(await client.execute("c", { n: 3 }), { n: 3 });
});

test("out-of-band execution is negotiated when asked for, and used for the commands that want it", async (t) => {
  for (const outOfBand of [true, false]) {
    const requests: Record<string, unknown>[] = [];
    const path = await servePeer(t, async (peer) => {
      peer.send(greeting);
      for (;;) {
        const request = await peer.read();
        requests.push(request);
        peer.send({ return: {}, id: request["id"] });
      }
    });
    const client = await connectQmp({ path, outOfBand });
    await client.execute("a", undefined, { outOfBand: true });
    await client.execute("b");
    await client.close();
    assert.deepEqual(
      requests.map(({ id: _, ...request }) => request),
      [
        { execute: "qmp_capabilities", ...(outOfBand ? { arguments: { enable: ["oob"] } } : {}) },
        outOfBand ? { "exec-oob": "a" } : { execute: "a" },
        { execute: "b" },
      ],
    );
  }
});

test("nobody listening, a refusal, a hang-up, a wrong peer, silence and an abort each have their error", async (t) => {
  const attempt = async (script: (peer: Peer) => Promise<void> | void, options: Partial<QmpConnectOptions> = {}) => {
    const states: ConnectionState[] = [];
    const path = await servePeer(t, script);
    const error: unknown = await connectQmp({ ...options, path, onState: (state) => states.push(state) }).then(
      () => assert.fail("connected"),
      (reason: unknown) => reason,
    );
    assert.deepEqual(states.slice(-2), ["closing", "closed"]);
    return error;
  };
  const missing = "/nonexistent/monitor";
  await assert.rejects(connectQmp({ path: missing }), hasCode("QM_QMP_CONNECT", { path: missing }));
  await assert.rejects(connectQmp({ path: `/${"x".repeat(200)}` }), hasCode("QM_QMP_CONNECT"));
  hasCode("QM_QMP_CONNECT")(await attempt((peer) => void peer.socket.destroy()));
  const refusal = await attempt(async (peer) => {
    peer.send(greeting);
    peer.send({ error: { class: "GenericError", desc: "not you" }, id: (await peer.read())["id"] });
  });
  hasCode("QM_QMP_CONNECT")(refusal);
  assert.match(String(refusal), /not you/);
  hasCode("QM_QMP_PROTOCOL")(await attempt((peer) => void peer.socket.write("220 smtp\r\n")));
  hasCode("QM_TIMEOUT", { timeoutMs: 20 })(await attempt(() => undefined, { connectTimeoutMs: 20 }));
  hasCode("QM_CANCELLED")(await attempt(() => undefined, { signal: AbortSignal.timeout(10) }));
});

test("answers to what an earlier connection had in flight are not taken for ours", async (t) => {
  const { client } = await connectTo(t, async (peer) => {
    const { id } = await peer.read();
    const others = [7, "another-1", String(id).replace(/^./, (first) => (first === "0" ? "1" : "0"))];
    for (const other of others) peer.send({ return: { name: "stale" }, id: other });
    peer.send({ error: { class: "GenericError", desc: "stale" }, id: 1 }, { return: { name: "ours" }, id });
  });
  assert.deepEqual(await client.execute("query-name"), { name: "ours" });
});

test("an event that was raised before this connection may come before its greeting", async (t) => {
  const path = await servePeer(t, async (peer) => {
    peer.send(event("RESUME"), greeting, event("STOP"));
    peer.send({ return: {}, id: (await peer.read())["id"] });
    await echo(peer);
  });
  const client = await connectQmp({ path });
  t.after(() => client.close());
  assert.deepEqual(await client.execute("query-name", { name: "x" }), { name: "x" });
});
