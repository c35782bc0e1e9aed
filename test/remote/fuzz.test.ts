import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { maxFrameBytes } from "../../src/remote/frames.ts";
import { programs, writePacket } from "../../src/remote/packets.ts";
import { connectGetHostname, domainLookupByName, domainSave } from "../../src/remote/protocol/index.ts";
import { struct } from "../../src/remote/xdr/index.ts";
import { RemoteRig } from "./raw-client.ts";

async function assertAlive(rig: RemoteRig): Promise<void> {
  const client = await rig.connect().open();
  assert.deepEqual(await client.call(connectGetHostname, {}), { hostname: "here" });
  client.socket.destroy();
}

const lookup = (serial: number) => ({
  ...{ program: programs.remote, version: 1, procedure: domainLookupByName.number, type: "call" as const },
  ...{ serial, status: "ok" as const },
});

test("whatever breaks the stream ends that connection, and nothing else", async () => {
  await using rig = await RemoteRig.start();
  const bystander = await rig.connect().open();
  const nothing = struct({});
  const write = (change: object): Buffer => writePacket({ ...lookup(1), ...change }, nothing, {});
  const wrongWord = (at: number, value: number): Buffer => {
    const packet = write({});
    packet.writeUInt32BE(value, at);
    return packet;
  };
  const broken: Readonly<Record<string, Buffer>> = {
    "a length of nothing": Buffer.alloc(4),
    "a length beyond the limit": wrongWord(0, maxFrameBytes + 1),
    "text of another protocol": Buffer.from("GET /v1/domains HTTP/1.1\r\nHost: x\r\n\r\n"),
    "another program": wrongWord(4, 0x20008088),
    "another version": wrongWord(8, 2),
    "no type": wrongWord(16, 6),
    "no status": wrongWord(24, 3),
    "a reply": write({ type: "reply" }),
    "an event": write({ type: "event" }),
    "a stream": write({ type: "stream" }),
    descriptors: write({ type: "call-with-fds" }),
    "a failed call": write({ status: "error" }),
    "a keepalive that is a call": write({ program: programs.keepalive, procedure: 1 }),
    "a keepalive of another kind": write({ program: programs.keepalive, type: "event", procedure: 3 }),
  };
  for (const [what, bytes] of Object.entries(broken)) {
    const client = await rig.connect().open();
    client.socket.write(bytes);
    await Promise.race([client.closed, client.next().then(() => assert.fail(what))]).catch((error: unknown) => {
      assert.match(String(error), /the server hung up/, what);
    });
  }
  assert.equal(rig.warnings.length, Object.keys(broken).length);
  assert.deepEqual(await bystander.call(connectGetHostname, {}), { hostname: "here" });
});

test("a serial that is in use ends the connection", async () => {
  await using rig = await RemoteRig.start();
  const { name, uuid } = rig.facade.addDomain("web");
  const gate = Promise.withResolvers<void>();
  rig.facade.gate = gate.promise;
  const client = await rig.connect().open();
  for (const _ of [1, 2]) client.send(domainSave, { domain: { name, uuid, id: 1 }, to: "/f" }, { serial: 77 });
  await client.closed;
  gate.resolve();
  await assertAlive(rig);
});

test("garbage of any kind never reaches other clients", async () => {
  await using rig = await RemoteRig.start();
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), async (chunks) => {
      const client = await rig.connect().open();
      for (const chunk of chunks) client.socket.write(chunk);
      client.socket.end();
      await client.closed;
      await assertAlive(rig);
    }),
    { numRuns: 60 },
  );
});

test("a good packet with any bytes changed, or cut short, is answered or ends the connection", async () => {
  await using rig = await RemoteRig.start();
  rig.facade.addDomain("web");
  const good = writePacket(lookup(9), domainLookupByName.args, { name: "web" });
  const changes = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(changes, fc.nat(good.length), async (bytes, length) => {
      const packet = Buffer.from(good);
      for (const [at, value] of bytes) packet[at] = value;
      const client = await rig.connect().open();
      client.socket.end(packet.subarray(0, length));
      await client.closed;
      await assertAlive(rig);
    }),
    { numRuns: 60 },
  );
});
