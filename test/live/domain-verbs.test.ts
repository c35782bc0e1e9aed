/** Verbs of a domain as a whole, on real QEMUs without a guest. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, it, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { parseDomain } from "../../src/model/domain-parse.ts";
import type { Snapshot, SnapshotConfig } from "../../src/model/snapshot.ts";
import { abandonSave, saveMemory } from "../../src/qemu/memory-stream.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import {
  describeBlock,
  describeDomain,
  readBlockStats,
  rebootDomain,
  renameDomain,
  resumeDomain,
  shutdownDomain,
  suspendDomain,
} from "../../src/service/domain-verbs.ts";
import { requireMonitor, type DomainEntry } from "../../src/service/domain-entry.ts";
import { machineOf } from "../../src/service/machine.ts";
import { prepareSave, restoreDomain } from "../../src/service/save-restore.ts";
import { assertRefused } from "./service-rig.ts";
import { VerbsRig } from "./verbs-rig.ts";

let rig: VerbsRig;
beforeEach(() => {
  rig = new VerbsRig();
});
afterEach(() => rig.close());

async function assertThrown(act: () => unknown, code: Parameters<typeof assertRefused>[1], names: string[] = []) {
  await assertRefused(Promise.resolve().then(act), code, names);
}

function startWithDisk(): Promise<DomainEntry> {
  return rig.start(rig.domainXml("d", { devices: rig.diskXml("vda", rig.createImage("vda.qcow2")) }));
}

async function hmp(eye: Monitor, line: string): Promise<void> {
  assert.equal(await eye.execute("human-monitor-command", { "command-line": line }), "");
}

/** What a guest's kernel does last when it shuts down. The firmware has to have set the register up: tried until it has. */
async function powerOffAsGuest(eye: Monitor): Promise<void> {
  const events = eye.subscribe(["SHUTDOWN"]);
  for (;;) {
    await hmp(eye, "o /w 0x604 0x2000");
    const seen = await events.next(AbortSignal.timeout(50)).catch(() => undefined);
    if (seen !== undefined) return events.close();
  }
}

function awaitEvent(eye: Monitor, name: "RESUME" | "RESET"): Promise<unknown> {
  return eye.subscribe([name]).next(AbortSignal.timeout(10_000));
}

describe("suspend and resume", () => {
  it("stop the guest and let it go on, and say what it does", async () => {
    const entry = await startWithDisk();
    await suspendDomain(rig.deps, entry);
    await suspendDomain(rig.deps, entry);
    const paused = await describeDomain(rig.deps, entry);
    assert.deepEqual([paused.state, paused.reason, entry.paused], ["paused", "user", true]);
    await resumeDomain(rig.deps, entry);
    assert.equal((await describeDomain(rig.deps, entry)).state, "running");
    await assertRefused(resumeDomain(rig.deps, entry), "QM_DOMAIN_RUNNING");
    entry.busy = { what: "it is being saved" };
    await assertRefused(suspendDomain(rig.deps, entry), "QM_DOMAIN_BUSY", ["saved"]);
    delete entry.busy;
  });

  it("are refused for a domain that does not run", async () => {
    const entry = rig.lifecycle.define(rig.domainXml("d"));
    await assertRefused(suspendDomain(rig.deps, entry), "QM_DOMAIN_NOT_RUNNING");
    await assertRefused(shutdownDomain(rig.deps, entry, {}), "QM_DOMAIN_NOT_RUNNING");
    await assertRefused(readBlockStats(entry, "vda"), "QM_DOMAIN_NOT_RUNNING");
  });
});

describe("shutdown and reboot", () => {
  it("press the power button, and QEMU ends when the guest has shut down", async () => {
    const entry = await startWithDisk();
    const eye = await rig.watch();
    const pressed = eye.subscribe(["POWERDOWN"]);
    await shutdownDomain(rig.deps, entry, {});
    await pressed.next(AbortSignal.timeout(5_000));
    await powerOffAsGuest(eye);
    await eye.closed;
    assert.ok(await eye.closed);
  });

  it("start the guest anew in the same QEMU when it has shut down, once, and not at the next shutdown", async () => {
    const entry = await startWithDisk();
    const eye = await rig.watch();
    await rebootDomain(rig.deps, entry, { modes: ["acpi"] });
    const resumed = awaitEvent(eye, "RESUME");
    await powerOffAsGuest(eye);
    await resumed;
    assert.ok(rig.deps.registry.get("d").run);
    await powerOffAsGuest(eye);
    assert.ok(await eye.closed);
  });

  it("start the guest anew when it shut down while there was no daemon", async () => {
    const entry = await startWithDisk();
    const eye = await rig.watch();
    await rebootDomain(rig.deps, entry, { modes: ["acpi"] });
    await requireMonitor(entry).close();
    await powerOffAsGuest(eye);
    assert.equal((await eye.execute("query-status")).status, "shutdown");
    const { found } = await rig.reopen("d");
    assert.equal(found, "connected");
    assert.equal((await eye.execute("query-status")).status, "running");
  });

  it("say why the agent cannot be asked, and take the next way where there is one", async () => {
    const entry = await startWithDisk();
    await assertRefused(shutdownDomain(rig.deps, entry, { modes: ["agent"] }), "QM_AGENT", ["no channel"]);
    await assertRefused(rebootDomain(rig.deps, entry, { modes: [] }), "QM_INVALID");
    const pressed = (await rig.watch()).subscribe(["POWERDOWN"]);
    await shutdownDomain(rig.deps, entry, { modes: ["agent", "acpi"] });
    await pressed.next(AbortSignal.timeout(5_000));
  });
});

describe("what a domain and its disks tell", () => {
  it("is measured while it runs, and read from the definition and the images otherwise", async () => {
    const entry = await startWithDisk();
    const eye = await rig.watch();
    await hmp(eye, 'qemu-io -d /machine/peripheral/vda/virtio-backend "write -P 7 0 256k"');
    await hmp(eye, 'qemu-io -d /machine/peripheral/vda/virtio-backend "flush"');
    const before = await describeBlock(entry, "vda");
    assert.equal(before.capacityBytes, 8 * 1024 * 1024);
    assert.ok(before.allocationBytes >= 256 * 1024 && before.physicalBytes >= 256 * 1024);
    assert.equal((await readBlockStats(entry, rig.path("vda.qcow2"))).target, "vda");
    // The device's own requests count, and none was made; the numbers are QEMU's.
    const [stats] = await eye.execute("query-blockstats");
    const mine = await readBlockStats(entry, "vda");
    assert.deepEqual(
      [mine.wrReq, mine.wrBytes, mine.rdReq, mine.flushReq],
      [stats?.stats.wr_operations, stats?.stats.wr_bytes, stats?.stats.rd_operations, stats?.stats.flush_operations],
    );
    const info = await describeDomain(rig.deps, entry);
    assert.ok((info.cpuTimeNs ?? 0) > 0);
    const expected = { id: 1, name: "d", state: "running", vcpus: 1, maxMemoryBytes: 32 * 1024 * 1024 };
    assert.deepEqual({ ...info, ...expected }, info);

    await eye.close();
    await rig.lifecycle.destroy(entry);
    assert.deepEqual(await describeBlock(entry, "vda"), before);
    const { id, state, cpuTimeNs, persistent } = await describeDomain(rig.deps, entry);
    assert.deepEqual([id, state, cpuTimeNs, persistent], [null, "shut off", undefined, true]);
    await assertRefused(describeBlock(entry, "vdz"), "QM_NO_DISK", ["vdz"]);
  });
});

test("a disk on the network is measured by QEMU, which alone reaches it", async (t) => {
  const socket = rig.path("nbd.sock");
  const server = spawn("qemu-nbd", ["-f", "qcow2", "-t", "-x", "vda", "-k", socket, rig.createImage("far.qcow2")]);
  const gone = once(server, "exit");
  t.after(async () => {
    server.kill();
    await gone;
  });
  // It tells nobody when it listens.
  while (!existsSync(socket)) await delay(10);
  const devices = `<disk type='network' device='disk'><driver name='qemu' type='raw'/>
    <source protocol='nbd' name='vda'><host transport='unix' socket='${socket}'/></source>
    <target dev='vda' bus='virtio'/></disk>`;
  const entry = await rig.start(rig.domainXml("d", { devices }));
  const { capacityBytes, allocationBytes } = await describeBlock(entry, "vda");
  assert.equal(capacityBytes, 8 * 1024 * 1024);
  assert.ok(allocationBytes <= capacityBytes);
  await rig.lifecycle.destroy(entry);
  await assertRefused(describeBlock(entry, "vda"), "QM_UNSUPPORTED", ["network"]);
});

describe("rename", () => {
  const document: Snapshot = {
    name: "s1",
    creationTime: 1,
    state: "shutoff",
    domainUuid: "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
    domainName: "d",
    disks: [],
  };

  it("takes the snapshots along, durably", async () => {
    const entry = rig.lifecycle.define(rig.domainXml("d"));
    const { registry, store } = rig.deps;
    registry.putSnapshot(entry, { domain: entry.uuid, name: "s1", current: true, deleting: false, document });
    store.snapshots.putConfig(entry.uuid, "s1", { domain: parseDomain(rig.domainXml("d")) });
    renameDomain(rig.deps, entry, "e");
    const { entry: again } = await rig.reopen("e");
    assert.equal(again.definition?.name, "e");
    assert.equal(rig.deps.registry.find("d"), undefined);
    assert.equal(rig.deps.registry.getSnapshot(again, "s1").document.domainName, "e");
    assert.equal(rig.store.snapshots.config<SnapshotConfig>(again.uuid, "s1")?.domain.name, "e");
    assert.ok(rig.events().includes("renamed"));
    await rig.lifecycle.start(again);
    assert.equal((await again.monitor?.execute("query-name"))?.name, "e");
  });

  it("is refused while it runs, for a transient domain, to a name that is taken or none", async () => {
    const other = rig.domainXml("other").replace("6ba7b810", "6ba7b811");
    rig.lifecycle.define(other);
    const entry = await rig.start(rig.domainXml("d"));
    await assertThrown(() => renameDomain(rig.deps, entry, "e"), "QM_DOMAIN_ACTIVE", ["d"]);
    await rig.lifecycle.destroy(entry);
    await assertThrown(() => renameDomain(rig.deps, entry, "other"), "QM_DOMAIN_EXISTS", ["other"]);
    await assertThrown(() => renameDomain(rig.deps, entry, "a/b"), "QM_XML_INVALID");
    const transient = { uuid: "x", name: "t", paused: false };
    await assertThrown(() => renameDomain(rig.deps, transient, "u"), "QM_INVALID", ["transient"]);
  });
});

/** What the engine does for `save`, in one go. */
async function save(entry: DomainEntry, request: { paused?: boolean; running?: boolean } = {}): Promise<string> {
  const { path, xml, afterwards } = await prepareSave(rig.deps, entry, { file: rig.path("memory"), ...request });
  const machine = machineOf(rig.deps, entry);
  const socketPath = machine.socketPath("memory.sock");
  await saveMemory(requireMonitor(entry), { path, xml, socketPath, afterwards, live: false });
  await machine.stop();
  return path;
}

describe("save and restore", () => {
  it("keep a transient domain's memory and bring it back, the file left in its place", async () => {
    const entry = await rig.lifecycle.create(rig.domainXml("d", { devices: rig.diskXml("vda", rig.createImage("a")) }));
    const file = await save(entry);
    assert.deepEqual([entry.run, entry.monitor], [undefined, undefined]);
    rig.deps.registry.remove(entry);
    const again = await restoreDomain(rig.deps, { file });
    assert.deepEqual([again.paused, again.run?.id, again.definition], [false, 2, undefined]);
    assert.ok(existsSync(file));
    await assertRefused(restoreDomain(rig.deps, { file }), "QM_DOMAIN_RUNNING", ["d"]);
  });

  it("give back the state that the guest had, unless told otherwise", async () => {
    const entry = await startWithDisk();
    await suspendDomain(rig.deps, entry);
    const file = await save(entry);
    for (const [request, paused] of [
      [{}, true],
      [{ running: true }, false],
      [{ paused: true }, true],
    ] as const) {
      const again = await restoreDomain(rig.deps, { file, ...request });
      assert.equal(again.paused, paused);
      assert.equal(again.definition?.name, "d");
      await rig.lifecycle.destroy(again);
    }
    await assertRefused(restoreDomain(rig.deps, { file, running: true, paused: true }), "QM_INVALID");
  });

  it("say what differs when the file is of other hardware, another name or another uuid", async () => {
    const entry = await startWithDisk();
    const xml = rig.domainXml("d", { memoryMib: 64 });
    const request = { file: rig.path("memory"), xml };
    const words = await assertRefused(prepareSave(rig.deps, entry, request), "QM_MEMORY_FILE", ["32 MiB", "64 MiB"]);
    assert.match(words, /virtio disk 1: vda \(disk\) was saved, none is there now/);
    const file = await save(entry);
    await assertRefused(restoreDomain(rig.deps, { ...request, file }), "QM_MEMORY_FILE", ["memory", "vda"]);
    const other = rig.domainXml("e").replace("6ba7b810", "6ba7b811");
    await assertRefused(restoreDomain(rig.deps, { file, xml: other }), "QM_MEMORY_FILE", ["name", "uuid"]);
    assert.equal(rig.deps.registry.get("d").run, undefined);
    renameDomain(rig.deps, entry, "renamed");
    await assertRefused(restoreDomain(rig.deps, { file }), "QM_DOMAIN_EXISTS", ["renamed"]);
  });

  it("leave nothing when QEMU refuses the stream", async () => {
    const entry = await startWithDisk();
    const { path, afterwards } = await prepareSave(rig.deps, entry, { file: rig.path("memory") });
    // A file that lies about the hardware.
    const xml = rig.domainXml("d", { memoryMib: 64, devices: rig.diskXml("vda", rig.path("vda.qcow2")) });
    const socketPath = rig.path("s");
    await saveMemory(requireMonitor(entry), { path, xml, socketPath, afterwards, live: true });
    await abandonSave(requireMonitor(entry), { wasRunning: true, socketPath });
    assert.equal((await describeDomain(rig.deps, entry)).state, "running");
    await rig.lifecycle.destroy(entry);
    await assertRefused(restoreDomain(rig.deps, { file: path }), "QM_QEMU_START", ["ismatch"]);
    assert.deepEqual([entry.run, entry.busy], [undefined, undefined]);
  });

  it("end a QEMU that was to load a file when the daemon died: its guest has never run", async () => {
    const entry = await startWithDisk();
    const monitor = requireMonitor(entry);
    const pid = entry.run?.identity?.pid;
    await rig.lifecycle.destroy(entry);
    assert.ok(monitor && pid);
    const xml = rig
      .domainXml("d")
      .replace("</qemu:commandline>", "<qemu:arg value='-incoming'/><qemu:arg value='defer'/></qemu:commandline>");
    await rig.start(xml);
    const { found } = await rig.reopen("d");
    assert.equal(found, "gone");
    await rig.deps.watch.markEnded(rig.deps.registry.get("d"), "gone");
  });
});

describe("the machine of an operation", () => {
  it("ends and starts QEMU while the domain stays known, and events tell of it once", async () => {
    const entry = await rig.lifecycle.create(rig.domainXml("d"));
    const machine = machineOf(rig.deps, entry);
    const definition = entry.run?.definition;
    assert.ok(definition);
    await machine.stop();
    await machine.stop();
    assert.equal(machine.monitor(), undefined);
    assert.equal(rig.deps.registry.get("d"), entry);
    assert.equal(rig.store.domains.list()[0]?.run, undefined);
    await machine.start(definition, { paused: true });
    assert.equal(entry.paused, true);
    await resumeDomain(rig.deps, entry);
    assert.deepEqual(rig.events(), ["started", "stopped", "started", "resumed"]);
  });

  it("stays known, without a run, when QEMU does not start", async () => {
    const entry = await rig.lifecycle.create(rig.domainXml("d"));
    const machine = machineOf(rig.deps, entry);
    const definition = entry.run?.definition;
    assert.ok(definition);
    await machine.stop();
    const broken = { ...definition, qemuArgs: ["-nonsense"] };
    await assertRefused(machine.start(broken, { paused: false }), "QM_QEMU_START", ["nonsense"]);
    assert.equal(rig.deps.registry.get("d").run, undefined);
    await assertRefused(machine.freeze(), "QM_DOMAIN_NOT_RUNNING");
  });
});
