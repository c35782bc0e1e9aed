import assert from "node:assert/strict";
import test from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { connectQmp } from "../../src/qmp/index.ts";
import { event, greetThen, servePeer, type Peer } from "./scripted-peer.ts";

/** Sends as many events as the command says, then the answer. */
async function emit(peer: Peer): Promise<void> {
  for (;;) {
    const { id, arguments: args } = await peer.read();
    const { names } = args as { names: string[] };
    peer.send(...names.map((name, index) => event(name, { index })), { return: {}, id });
  }
}

test("events keep their order among themselves and before the answer that follows them", async (t) => {
  const client = await connectQmp({ path: await servePeer(t, greetThen(emit)) });
  t.after(() => client.close());
  const seen: string[] = [];
  const stop = client.onEvent((received) => seen.push(received.event));
  const listener = client.subscribe(["B"]);
  await client.execute("emit", { names: ["A", "B", "C"] }).then(() => seen.push("answer"));
  assert.deepEqual(seen, ["A", "B", "C", "answer"]);
  assert.deepEqual(await listener.next(), { event: "B", data: { index: 1 }, timestampMs: 10_500 });
  stop();
  await client.execute("emit", { names: ["A"] });
  assert.equal(seen.length, 4);
});

test("a listener that falls behind loses itself alone, after the events that it holds", async (t) => {
  const client = await connectQmp({ path: await servePeer(t, greetThen(emit)) });
  t.after(() => client.close());
  const slow = client.subscribe(undefined, 2);
  const roomy = client.subscribe();
  await client.execute("emit", { names: ["A", "B", "C", "D"] });
  assert.equal((await slow.next()).event, "A");
  assert.equal((await slow.next()).event, "B");
  await assert.rejects(slow.next(), (error) => isQmError(error, "QM_QMP_OVERFLOW") && error.fields.limit === 2);
  for (const name of ["A", "B", "C", "D"]) assert.equal((await roomy.next()).event, name);
  assert.equal(client.state, "running");
});

test("an aborted wait loses no event", async (t) => {
  const client = await connectQmp({ path: await servePeer(t, greetThen(emit)) });
  t.after(() => client.close());
  const listener = client.subscribe();
  const abort = new AbortController();
  const wait = assert.rejects(listener.next(abort.signal), (error) => isQmError(error, "QM_CANCELLED"));
  abort.abort();
  await wait;
  await client.execute("emit", { names: ["A"] });
  assert.equal((await listener.next()).event, "A");
});

test("iteration ends with close() and throws when the connection ends", async (t) => {
  const client = await connectQmp({ path: await servePeer(t, greetThen(emit)) });
  t.after(() => client.close());
  const listener = client.subscribe();
  await client.execute("emit", { names: ["A", "B"] });
  const names: string[] = [];
  for await (const { event: name } of listener) {
    names.push(name);
    if (name === "B") listener.close();
  }
  assert.deepEqual(names, ["A", "B"]);

  const other = client.subscribe();
  const ending = assert.rejects(
    async () => {
      for await (const received of other) assert.fail(received.event);
    },
    (error) => isQmError(error, "QM_QMP_LOST"),
  );
  await client.close();
  await ending;
});

test("a handler may close the connection in the middle of a packet", async (t) => {
  const client = await connectQmp({ path: await servePeer(t, greetThen(emit)) });
  const seen: string[] = [];
  client.onEvent(({ event: name }) => {
    seen.push(name);
    void client.close();
  });
  await assert.rejects(client.execute("emit", { names: ["A", "B"] }), (error) => isQmError(error, "QM_QMP_LOST"));
  assert.deepEqual(seen, ["A"]);
});
