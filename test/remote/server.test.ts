import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { programs, readBody, writePacket } from "../../src/remote/packets.ts";
import * as protocol from "../../src/remote/protocol/index.ts";
import { servedProcedures } from "../../src/remote/server/procedures.ts";
import { struct, uint } from "../../src/remote/xdr/index.ts";
import { RemoteRig } from "./raw-client.ts";

const domains = { wanted: true, flags: noFilter() };

function noFilter() {
  const names = ["active", "inactive", "persistent", "transient", "running", "paused", "shutOff", "other"] as const;
  const more = ["managedSave", "noManagedSave", "autostart", "noAutostart", "hasSnapshot", "noSnapshot"] as const;
  const all = [...names, ...more, "hasCheckpoint", "noCheckpoint"] as const;
  return Object.fromEntries(all.map((name) => [name, false])) as Record<(typeof all)[number], boolean>;
}

test("every procedure has a number and a name of its own", () => {
  const descriptions = [...servedProcedures.values()];
  assert.equal(new Set(descriptions.map(({ name }) => name)).size, descriptions.length);
  // A number that stood twice in the table would hide the other.
  const numbers = Object.values(protocol).flatMap((one) => (isProcedure(one) ? [one.number] : []));
  assert.equal(new Set(numbers).size, numbers.length);
});

function isProcedure(value: unknown): value is { number: number } {
  return typeof value === "object" && value !== null && "number" in value && "args" in value;
}

test("a client greets, opens, lists, looks up and says goodbye", async () => {
  await using rig = await RemoteRig.start();
  const running = rig.facade.addDomain("web");
  const resting = rig.facade.addDomain("db", { id: null, state: "shut off" });
  const client = rig.connect();
  assert.deepEqual(await client.call(protocol.connectSupportsFeature, { feature: 10 }), { supported: true });
  assert.deepEqual(await client.call(protocol.connectSupportsFeature, { feature: 8 }), { supported: false });
  await client.open();
  const { domains: all, count } = await client.call(protocol.connectListAllDomains, domains);
  assert.equal(count, 2);
  assert.deepEqual(all, [
    { name: "web", uuid: running.uuid, id: running.id },
    { name: "db", uuid: resting.uuid, id: -1 },
  ]);
  const inactive = { wanted: false, flags: { ...noFilter(), inactive: true } };
  assert.deepEqual(await client.call(protocol.connectListAllDomains, inactive), { domains: [], count: 1 });
  const { domain } = await client.call(protocol.domainLookupByName, { name: "db" });
  assert.deepEqual(await client.call(protocol.domainGetState, { domain, flags: {} }), { state: 5, reason: 0 });
  await client.call(protocol.connectClose, {});
  client.send(protocol.connectGetHostname, {});
  assert.equal((await client.nextError()).code, 39);
});

test("an error has libvirt's code, and what to do next; the connection goes on", async () => {
  await using rig = await RemoteRig.start();
  const client = await rig.connect().open();
  client.send(protocol.domainLookupByName, { name: "nope" });
  const { code, message, level, str2 } = await client.nextError();
  assert.deepEqual([code, level, str2], [42, 2, message]);
  assert.match(message ?? "", /'nope'; `qmirror list --all`/);
  client.sendEmpty(client.header(9999));
  assert.equal((await client.nextError()).code, 3);
  client.sendEmpty(client.header(1, { program: programs.qemu }));
  assert.equal((await client.nextError()).code, 3);
  // Arguments that are not those of the procedure
  client.sendEmpty(client.header(protocol.domainLookupByName.number));
  assert.equal((await client.nextError()).code, 39);
  assert.deepEqual(await client.call(protocol.connectGetHostname, {}), { hostname: "here" });
});

test("unknown flags are refused by the server, of empty lists too", async () => {
  await using rig = await RemoteRig.start();
  rig.facade.addDomain("web");
  const client = await rig.connect().open();
  const { domain } = await client.call(protocol.domainLookupByName, { name: "web" });
  const { number, args } = protocol.snapshotDelete;
  const none = { children: false, metadataOnly: false, childrenOnly: false, mirrorAbort: false, mirrorPivot: false };
  const packet = writePacket(client.header(number), args, { snapshot: { name: "s", domain }, flags: none });
  packet.writeUInt32BE(1 << 28, packet.length - 4);
  client.socket.write(packet);
  const { code, message } = await client.nextError();
  assert.deepEqual([code, message], [8, "invalid argument: unsupported flags (0x10000000)"]);
  const pair = struct({ wanted: uint, flags: uint });
  for (const empty of protocol.emptyLists.filter((one) => one.number !== 285)) {
    const header = client.header(empty.number);
    client.socket.write(writePacket(header, pair, { wanted: 1, flags: 0x80000000 }));
    assert.equal((await client.nextError()).code, 8, empty.name);
  }
});

test("nothing but greeting is answered before the connection is open, and it is opened once", async () => {
  await using rig = await RemoteRig.start();
  const client = rig.connect();
  client.send(protocol.connectGetHostname, {});
  assert.match((await client.nextError()).message ?? "", /connect_get_hostname on a connection that is greeting/);
  client.send(protocol.connectOpen, { uri: "xen:///system", flags: { readOnly: false } });
  assert.equal((await client.nextError()).code, 8);
  await client.open();
  client.send(protocol.connectOpen, { uri: null, flags: { readOnly: false } });
  assert.equal((await client.nextError()).code, 39);
});

test("read-only clients read only: by their own wish, and by the socket that they came from", async () => {
  await using rig = await RemoteRig.start();
  const { name, uuid } = rig.facade.addDomain("web");
  for (const client of [await rig.connect().open(true), await rig.connect("read-only").open()]) {
    client.send(protocol.domainDestroy, { domain: { name, uuid, id: 1 } });
    assert.equal((await client.nextError()).code, 29);
    assert.deepEqual(await client.call(protocol.domainIsActive, { domain: { name, uuid, id: 1 } }), { active: true });
  }
});

test("a ping is answered while more calls run and wait than one client may have", async () => {
  await using rig = await RemoteRig.start();
  const { name, uuid } = rig.facade.addDomain("web");
  const gate = Promise.withResolvers<void>();
  rig.facade.gate = gate.promise;
  const client = await rig.connect().open();
  const save = { domain: { name, uuid, id: 1 }, to: "/f" };
  const serials = Array.from({ length: 20 }, () => client.send(protocol.domainSave, save));
  client.sendEmpty(client.header(1, { program: programs.keepalive, type: "event", serial: 0 }));
  const pong = await client.next();
  assert.deepEqual([pong.program, pong.procedure, pong.type], [programs.keepalive, 2, "event"]);
  assert.equal(rig.facade.requests.length, 5);
  // Others are not held up
  assert.deepEqual(await (await rig.connect().open()).call(protocol.connectGetHostname, {}), { hostname: "here" });
  gate.resolve();
  const answered = [];
  for (const _ of serials) answered.push((await client.next()).serial);
  assert.deepEqual(
    answered.toSorted((a, b) => a - b),
    serials,
  );
});

test("calls that still wait when their client goes away are not carried out", async () => {
  await using rig = await RemoteRig.start();
  const { name, uuid } = rig.facade.addDomain("web");
  const gate = Promise.withResolvers<void>();
  rig.facade.gate = gate.promise;
  const client = await rig.connect().open();
  for (let index = 0; index < 20; index += 1) {
    client.send(protocol.domainSave, { domain: { name, uuid, id: 1 }, to: `/f${index}` });
  }
  client.sendEmpty(client.header(1, { program: programs.keepalive, type: "event", serial: 0 }));
  await client.next();
  client.socket.destroy();
  await client.closed;
  // The server has seen the end when a later client's greeting is answered
  await rig.connect().open();
  gate.resolve();
  await rig.connect().open();
  assert.equal(rig.facade.requests.length, 5);
});

test("a client that does not read keeps nobody else waiting, and no more than its share of memory", async () => {
  await using rig = await RemoteRig.start();
  for (let index = 0; index < 5_000; index += 1) rig.facade.addDomain(`domain-${index}-${"x".repeat(100)}`);
  let lists = 0;
  const listDomains = rig.facade.listDomains.bind(rig.facade);
  rig.facade.listDomains = () => {
    lists += 1;
    return listDomains();
  };
  const slow = await rig.connect().open();
  slow.socket.pause();
  const serials = Array.from({ length: 60 }, () => slow.send(protocol.connectListAllDomains, domains));
  const quick = await rig.connect().open();
  assert.equal((await quick.call(protocol.connectListAllDomains, domains)).count, 5_000);
  assert.ok(lists < 40, `${lists} answers were made for a client that takes none`);
  slow.socket.resume();
  for (const _ of serials) assert.equal((await slow.next()).status, "ok");
});

test("lifecycle events reach those who registered for them, until they deregister", async () => {
  await using rig = await RemoteRig.start();
  const { name, uuid } = rig.facade.addDomain("web");
  const other = rig.facade.addDomain("other");
  const client = await rig.connect().open();
  const first = await client.call(protocol.domainEventRegister, { eventId: 0, domain: null });
  const second = await client.call(protocol.domainEventRegister, {
    eventId: 0,
    domain: { name: "other", uuid: other.uuid, id: 2 },
  });
  assert.notEqual(first.callbackId, second.callbackId);
  rig.facade.emit("web", { event: "suspended" });
  const event = await client.next();
  assert.deepEqual([event.type, event.procedure], ["event", protocol.lifecycleEvent.number]);
  const domain = { name, uuid, id: 1 };
  const told = { callbackId: first.callbackId, domain, event: 3, detail: 0 };
  assert.deepEqual(readBody(event, protocol.lifecycleEvent.args), told);
  // Told even when nobody can look it up any more
  rig.facade.domains.delete("web");
  rig.facade.emit("web", { event: "undefined" });
  const last = readBody(await client.next(), protocol.lifecycleEvent.args);
  assert.deepEqual([last.event, last.domain], [1, { name, uuid, id: -1 }]);
  await client.call(protocol.domainEventDeregister, first);
  rig.facade.emit("other", { event: "resumed" });
  assert.equal(readBody(await client.next(), protocol.lifecycleEvent.args).callbackId, second.callbackId);
  client.send(protocol.domainEventRegister, { eventId: 99, domain: null });
  assert.equal((await client.nextError()).code, 8);
  client.socket.end();
  await once(client.socket, "close");
});
