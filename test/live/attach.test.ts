/** A QEMU that somebody else started, with nodes that nobody named: taken over, moved, let go. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  assertHolds,
  assertRefused,
  blockdevDisks,
  openFiles,
  ServiceRig,
  writeThroughDevice,
  type ForeignQemu,
} from "./service-rig.ts";

describe("an attached QEMU", () => {
  const rig = new ServiceRig();
  let qemu: ForeignQemu;
  let finalPaths: string[] = [];
  const chainOf = (name: string) => [rig.image(`src/${name}`), rig.image(`src/${name}-base`)];
  before(async () => {
    rig.image("src/");
    for (const [index, name] of ["a", "b", "c"].entries()) {
      const base = rig.createImage(`src/${name}-base`, { pattern: index + 1 });
      rig.createImage(`src/${name}`, { backing: base });
    }
    await rig.open();
    qemu = await rig.startForeign([
      ...["-name", "theirs", "-drive", `file=${rig.image("src/a")},format=qcow2,if=virtio`],
      ...["-drive", `file=${rig.image("src/b")},format=qcow2,if=none,id=drive-b,cache=none`],
      ...["-device", "virtio-blk-pci,drive=drive-b,id=disk-b"],
      ...blockdevDisks({ c: rig.image("src/c") }),
    ]);
  });
  after(() => rig.close());

  const targets = ["virtio0", "disk-b", "c"];
  const activeDirectories = async (): Promise<string[]> => [
    ...new Set((await rig.chains("theirs")).flat().map((path) => dirname(path))),
  ];
  const filesBelow = (directory: string): string[] =>
    openFiles(qemu.pid).filter((path) => path.startsWith(`${directory}/`));

  test("is listed under its own name, with its disks and their chains", async () => {
    await rig.attach("theirs", qemu.socket);
    const [domain] = await rig.facade.listDomains();
    assert.partialDeepStrictEqual(domain, { name: "theirs", adopted: true, persistent: false, state: "paused" });
    const disks = await rig.facade.domainDisks("theirs");
    assert.deepEqual(
      disks.map((disk) => [disk.target, disk.chain.map((image) => image.path), disk.sizeBytes]),
      targets.map((target, index) => [target, chainOf(["a", "b", "c"][index] ?? ""), 8 * 1024 * 1024]),
    );
    const xml = await rig.facade.domainXml("theirs", { inactive: false });
    assert.match(xml, new RegExp(`<source file='${rig.image("src/b")}' index='1'/>`));
    await assertRefused(rig.facade.domainXml("theirs", { inactive: true }), "QM_INVALID", ["transient"]);
  });

  test("is refused a second time, and so is a socket with nobody behind it", async () => {
    const domains = await rig.facade.listDomains();
    await assertRefused(rig.facade.attachDomain({ qmp: qemu.socket, name: "other" }), "QM_DOMAIN_EXISTS", ["'theirs'"]);
    const dead = rig.path("dead.sock");
    await assertRefused(rig.facade.attachDomain({ qmp: dead }), "QM_QMP_CONNECT", [dead]);
    const server = createServer().listen(dead);
    await once(server, "listening");
    const gone = once(server, "close");
    server.close();
    await gone;
    await assertRefused(rig.facade.attachDomain({ qmp: dead }), "QM_QMP_CONNECT", [dead]);
    assert.deepEqual(await rig.facade.listDomains(), domains);
  });

  test("takes a mirrored snapshot and pivots", async () => {
    rig.image("mirrors/");
    for (const target of ["disk-b", "c"]) await writeThroughDevice(qemu.eye, target, 0x21, 4096);
    const diskspecs = targets.map((target) => `${target},mirror=${rig.image(`mirrors/${target}`)}`);
    await rig.facade.createSnapshot("theirs", { name: "s1", diskspecs });
    for (const target of ["disk-b", "c"]) await writeThroughDevice(qemu.eye, target, 0x22, 4160);
    await assertRefused(rig.facade.detachDomain("theirs"), "QM_DOMAIN_MIRRORED", ["'s1'"]);
    await rig.facade.endMirrors("theirs", "s1", "pivot");
    const chains = await rig.chains("theirs");
    assert.deepEqual(
      chains.map(([active]) => active),
      targets.map((target) => rig.image(`mirrors/${target}`)),
    );
    assert.deepEqual(chains[1]?.slice(1), chainOf("b"));
  });

  test("moves its storage and lets go of every file of the source", async () => {
    rig.image("moved/");
    assert.ok(filesBelow(rig.image("src")).length >= 6);
    const operation = await rig.facade.migrateStorage("theirs", { to: rig.image("moved"), verify: true });
    const final = await rig.finish(operation);
    assert.equal(final.state, "succeeded", JSON.stringify(final.error));
    assert.deepEqual(await activeDirectories(), [rig.image("moved")]);
    assert.deepEqual(filesBelow(rig.image("src")), []);
    assert.deepEqual(filesBelow(rig.image("mirrors")), []);
    // Nobody needs them any more.
    for (const name of ["src", "mirrors"]) rmSync(rig.image(name), { recursive: true });
    for (const target of ["disk-b", "c"]) await writeThroughDevice(qemu.eye, target, 0x23, 4224);
  });

  test("moves once more: what qmirror opened is closed as well", async () => {
    rig.image("again/");
    const final = await rig.finish(await rig.facade.migrateStorage("theirs", { to: rig.image("again") }));
    assert.equal(final.state, "succeeded", JSON.stringify(final.error));
    assert.deepEqual(await activeDirectories(), [rig.image("again")]);
    assert.deepEqual(filesBelow(rig.image("moved")), []);
    // All but the disks' own nodes.
    const nodes = await qemu.eye.execute("query-named-block-nodes", { flat: true });
    const layers = (await rig.chains("theirs")).flat().length;
    assert.equal(nodes.length, 2 * layers, JSON.stringify(nodes.map((node) => [node["node-name"], node.file])));
  });

  test("is found again by the next daemon", async () => {
    const [before, disks] = [await rig.facade.getDomain("theirs"), await rig.facade.domainDisks("theirs")];
    await rig.closeService();
    await rig.open();
    assert.deepEqual(await rig.facade.getDomain("theirs"), before);
    assert.deepEqual(await rig.facade.domainDisks("theirs"), disks);
  });

  test("runs on when it is let go, and can be attached again", async () => {
    await rig.facade.detachDomain("theirs");
    assert.deepEqual(await rig.facade.listDomains(), []);
    assert.equal((await qemu.eye.execute("query-status")).status, "prelaunch");
    await rig.attach("renamed", qemu.socket);
    assert.equal((await rig.facade.getDomain("renamed")).adopted, true);
    await assertRefused(rig.facade.undefineDomain("renamed"), "QM_INVALID", ["'renamed'", "transient"]);
    finalPaths = (await rig.chains("renamed")).map(([active]) => active ?? "");
    await rig.facade.detachDomain("renamed");
  });

  test("and all that its devices wrote is in its images", async () => {
    await qemu.kill();
    for (const [index, path] of finalPaths.slice(1).entries()) {
      for (const [pattern, offsetKib] of [
        [0x21, 4096],
        [0x22, 4160],
        [0x23, 4224],
        [index + 2, 0],
      ] as const) {
        assertHolds(path, pattern, offsetKib);
      }
    }
  });

  test("that has ended is gone from the list", async () => {
    const other = await rig.startForeign(blockdevDisks({ vda: rig.createImage("other") }));
    await rig.attach("other", other.socket);
    const ended = (async () => {
      for await (const event of rig.facade.watchEvents({ since: 0, domain: "other" }, AbortSignal.timeout(20_000))) {
        if (event.detail["event"] === "stopped") return;
      }
      assert.fail("its end was not noticed");
    })();
    await other.kill();
    await ended;
    assert.deepEqual(await rig.facade.listDomains(), []);
  });
});
