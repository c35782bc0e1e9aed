/** Disks that are attached and detached, on real QEMUs without a guest: a SCSI disk needs none to let go of it. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { Snapshot } from "../../src/model/snapshot.ts";
import { requireMonitor, type DomainEntry } from "../../src/service/domain-entry.ts";
import { attachDisk, detachDisk } from "../../src/service/disk-devices.ts";
import { assertRefused, openFiles } from "./service-rig.ts";
import { VerbsRig } from "./verbs-rig.ts";

let rig: VerbsRig;
beforeEach(() => {
  rig = new VerbsRig();
});
afterEach(() => rig.close());

/** With one SCSI disk, so that it has a controller; `pc` takes PCI devices while it runs. */
function startWithScsi(machine = "q35"): Promise<DomainEntry> {
  const devices = rig.diskXml("sda", rig.createImage("sda.qcow2"), "scsi");
  return rig.start(rig.domainXml("d", { machine, devices }));
}

function liveTargets(entry: DomainEntry): string[] {
  return (entry.run?.definition.disks ?? []).map(({ target }) => target);
}

function nextTargets(entry: DomainEntry): string[] {
  return (entry.definition?.disks ?? []).map(({ target }) => target);
}

async function nodeNames(entry: DomainEntry): Promise<string[]> {
  const nodes = await requireMonitor(entry).execute("query-named-block-nodes", { flat: true });
  return nodes.map((node) => node["node-name"] ?? "").toSorted();
}

describe("attaching and detaching while it runs", () => {
  for (const [machine, bus] of [
    ["q35", "scsi"],
    ["pc", "virtio"],
  ] as const) {
    it(`opens every layer by its name, and a ${bus} disk is there (${machine})`, async () => {
      const entry = await startWithScsi(machine);
      const target = bus === "scsi" ? "sdb" : "vdb";
      const base = rig.createImage("base.qcow2");
      const top = rig.path("top,file=x");
      execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, top]);
      const view = await attachDisk(rig.deps, entry, { xml: rig.diskXml(target, top, bus) });
      assert.deepEqual(
        [view.target, view.chain.map(({ path }) => path), view.sizeBytes],
        [target, [top, base], 8 * 1024 * 1024],
      );
      assert.deepEqual([liveTargets(entry), nextTargets(entry)], [["sda", target], ["sda"]]);
      const names = await nodeNames(entry);
      for (const name of [`qm-${target}-0`, `qm-${target}-0s`, `qm-${target}-1`, `qm-${target}-1s`]) {
        assert.ok(names.includes(name), name);
      }
      assert.ok(rig.events().includes("disk-attached"));
    });
  }

  it("lets go of the images, and the same disk can come again", async () => {
    const entry = await startWithScsi();
    const path = rig.createImage("sdb.qcow2");
    const before = await nodeNames(entry);
    for (let round = 0; round < 2; round++) {
      await attachDisk(rig.deps, entry, { xml: rig.diskXml("sdb", path, "scsi") });
      await detachDisk(rig.deps, entry, "sdb", {});
      assert.deepEqual(await nodeNames(entry), before);
      assert.ok(!openFiles(entry.run?.identity?.pid ?? 0).includes(path));
      assert.deepEqual(liveTargets(entry), ["sda"]);
    }
    assert.ok(rig.events().includes("disk-detached"));
  });

  it("says that the guest holds on to a disk, and is done when it lets go later", async () => {
    const entry = await rig.start(
      rig.domainXml("d", { machine: "pc", devices: rig.diskXml("vda", rig.createImage("vda.qcow2")) }),
    );
    await assertRefused(detachDisk(rig.deps, entry, "vda", {}, 100), "QM_TIMEOUT", ["vda"]);
    assert.deepEqual(liveTargets(entry), ["vda"]);
    assert.equal(entry.busy, undefined);
    // A reset lets go of it, as a guest would.
    const eye = await rig.watch();
    const deleted = eye.subscribe(["DEVICE_DELETED"]);
    await eye.execute("system_reset");
    await deleted.next(AbortSignal.timeout(10_000));
    await detached();
    assert.deepEqual(liveTargets(entry), []);
    assert.deepEqual(await nodeNames(entry), []);
  });

  /** Our own monitor hears of it at its own time. */
  async function detached(): Promise<void> {
    const watching = new AbortController();
    for await (const event of rig.deps.events.watch({ since: 0 }, watching.signal)) {
      if (event.detail["event"] === "disk-detached") watching.abort();
    }
  }

  it("leaves nothing of a disk that QEMU refuses", async () => {
    const entry = await startWithScsi("q35");
    const before = await nodeNames(entry);
    const xml = rig.diskXml("vdb", rig.createImage("vdb.qcow2"));
    await assertRefused(attachDisk(rig.deps, entry, { xml }), "QM_QMP_COMMAND", ["hotplug"]);
    assert.deepEqual(await nodeNames(entry), before);
    assert.deepEqual(liveTargets(entry), ["sda"]);
    const [stored] = rig.store.domains.list<{ definition: { disks: unknown[] } }>();
    assert.equal(stored?.run?.definition.disks.length, 1);
  });

  it("refuses a taken target, an image in use, a missing image, an unknown disk, and a document that is none", async () => {
    const entry = await startWithScsi();
    const attach = (xml: string) => attachDisk(rig.deps, entry, { xml });
    await assertRefused(attach(rig.diskXml("sda", rig.createImage("new"), "scsi")), "QM_INVALID", ["sda"]);
    await assertRefused(attach(rig.diskXml("sdb", rig.path("sda.qcow2"), "scsi")), "QM_SAME_FILE", ["sda"]);
    await assertRefused(attach(rig.diskXml("sdb", rig.path("none"), "scsi")), "QM_NO_FILE", ["none"]);
    await assertRefused(attach("<domain/>"), "QM_XML_INVALID", ["disk"]);
    await assertRefused(detachDisk(rig.deps, entry, "sdz", {}), "QM_NO_DISK", ["sdz"]);
  });

  it("refuses to detach a disk that is mirrored", async () => {
    const entry = await startWithScsi();
    const mirrors = { plan: { disks: [{ target: "sda", mirror: {} }] }, states: {} };
    const document = { name: "s1", disks: [] } as unknown as Snapshot;
    const snapshot = { domain: entry.uuid, name: "s1", current: true, deleting: false, document, mirrors };
    rig.deps.registry.putSnapshot(entry, snapshot as never);
    await assertRefused(detachDisk(rig.deps, entry, "sda", {}), "QM_DOMAIN_MIRRORED", ["s1"]);
    rig.deps.registry.removeSnapshot(entry, "s1");
  });
});

describe("where it takes effect", () => {
  it("is the definition of a domain that does not run", async () => {
    const entry = rig.lifecycle.define(rig.domainXml("d"));
    const xml = rig.diskXml("vda", rig.createImage("vda.qcow2"));
    await assertRefused(attachDisk(rig.deps, entry, { xml, live: true }), "QM_DOMAIN_NOT_RUNNING");
    await attachDisk(rig.deps, entry, { xml });
    assert.deepEqual(nextTargets((await rig.reopen("d")).entry), ["vda"]);
    await detachDisk(rig.deps, rig.deps.registry.get("d"), "vda", { persistent: true });
    assert.deepEqual(nextTargets((await rig.reopen("d")).entry), []);
  });

  it("is both with persistent, or live and config; config alone leaves what runs", async () => {
    const entry = await startWithScsi();
    const path = rig.createImage("sdb.qcow2");
    const xml = rig.diskXml("sdb", path, "scsi");
    await attachDisk(rig.deps, entry, { xml, config: true });
    assert.deepEqual([liveTargets(entry), nextTargets(entry)], [["sda"], ["sda", "sdb"]]);
    await detachDisk(rig.deps, entry, "sdb", { config: true });
    await attachDisk(rig.deps, entry, { xml, persistent: true });
    assert.deepEqual(
      [liveTargets(entry), nextTargets(entry)],
      [
        ["sda", "sdb"],
        ["sda", "sdb"],
      ],
    );
    await detachDisk(rig.deps, entry, "sdb", { live: true, config: true });
    assert.deepEqual([liveTargets(entry), nextTargets(entry)], [["sda"], ["sda"]]);
  });

  it("cannot be the definition of a transient domain", async () => {
    const devices = rig.diskXml("sda", rig.createImage("sda.qcow2"), "scsi");
    const entry = await rig.lifecycle.create(rig.domainXml("d", { devices }));
    await assertRefused(detachDisk(rig.deps, entry, "sda", { config: true }), "QM_INVALID", ["transient"]);
  });
});

describe("a daemon that dies in between", () => {
  it("knows what QEMU has when it comes again: a disk that was not plugged yet, and one that is gone already", async () => {
    const entry = await startWithScsi();
    const run = entry.run;
    assert.ok(run);
    // The intent was written, and QEMU not told.
    const source = { type: "file", path: rig.createImage("sdb.qcow2"), format: "qcow2" } as const;
    const planned = { target: "sdb", bus: "scsi", device: "disk", source, readonly: false } as const;
    const disks = [...run.definition.disks, planned];
    entry.run = { ...run, definition: { ...run.definition, disks } };
    rig.deps.registry.save(entry);
    const again = (await rig.reopen("d")).entry;
    assert.deepEqual(liveTargets(again), ["sda"]);
    // QEMU was told, and has let go; that was not written any more.
    const deleted = (await rig.watch()).subscribe(["DEVICE_DELETED"]);
    await requireMonitor(again).execute("device_del", { id: "sda" });
    await deleted.next(AbortSignal.timeout(5_000));
    const last = (await rig.reopen("d")).entry;
    assert.deepEqual([liveTargets(last), nextTargets(last)], [[], ["sda"]]);
    // What is left open of it is not in the way.
    await attachDisk(rig.deps, last, { xml: rig.diskXml("sda", rig.path("sda.qcow2"), "scsi") });
    assert.deepEqual(liveTargets(last), ["sda"]);
  });
});
