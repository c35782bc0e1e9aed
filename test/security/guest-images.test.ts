/** What a guest writes into its raw disk stays data, whatever it looks like; QEMU is confined; modes keep other users out. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { openSync, readFileSync, readSync, closeSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { openFiles, ServiceRig } from "../live/service-rig.ts";

describe("a guest that writes a qcow2 header over its raw disk", () => {
  const rig = new ServiceRig();
  const secret = rig.path("secret");
  let header: Buffer;
  let eye: Monitor;
  before(async () => {
    writeFileSync(secret, "the host's secret".padEnd(1024));
    const evil = rig.path("evil.qcow2");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", secret, evil, "8M"]);
    header = readFileSync(evil);
    await rig.open();
    await rig.facade.defineDomain(rig.domainXml("g", [rig.createImage("vda.raw", { format: "raw" })], "raw"));
    rig.image("dst/");
    rig.image("copy/");
  });
  after(() => rig.close());

  /** As the guest would: through its device. */
  async function writeHeader(): Promise<void> {
    writeFileSync(rig.path("header"), header.subarray(0, 64 * 1024));
    const io = `qemu-io -d /machine/peripheral/vda/virtio-backend "write -s ${rig.path("header")} 0 64k"`;
    await eye.execute("human-monitor-command", { "command-line": io });
    await eye.execute("human-monitor-command", {
      "command-line": 'qemu-io -d /machine/peripheral/vda/virtio-backend "flush"',
    });
  }

  async function assertRawBelow(): Promise<void> {
    const [disk] = await rig.facade.domainDisks("g");
    assert.equal(disk?.chain.at(-1)?.format, "raw");
    assert.ok(!disk?.chain.some(({ path }) => path === secret));
    assert.doesNotMatch(await rig.facade.domainXml("g", { inactive: false }), /secret/);
    const nodes = await eye.execute("query-named-block-nodes", { flat: true });
    assert.ok(!nodes.some(({ file }) => file.includes(secret)), "QEMU has no node over it");
    const [domain] = await rig.facade.listDomains();
    assert.ok(!openFiles(rig.pidOf(domain?.uuid ?? "")).includes(secret), "QEMU has not opened it");
  }

  function assertHeader(path: string): void {
    const file = openSync(path, "r");
    const bytes = Buffer.alloc(4096);
    readSync(file, bytes, 0, bytes.length, 0);
    closeSync(file);
    assert.ok(bytes.equals(header.subarray(0, bytes.length)), `${path} begins with what the guest wrote`);
  }

  test("start: it is the guest's data, not an image", async () => {
    await rig.facade.startDomain("g");
    eye = await rig.watch("g");
    await writeHeader();
    await rig.facade.destroyDomain("g");
    assertHeader(rig.image("vda.raw"));
    await rig.facade.startDomain("g");
    eye = await rig.watch("g");
    await assertRawBelow();
  });

  test("clone: the copy is raw and the same", async () => {
    const clone = await rig.finish(await rig.facade.cloneStorage("g", { to: rig.image("copy") }));
    assert.equal(clone.state, "succeeded", String(clone.error?.message));
    const [name = ""] = readdirSync(rig.image("copy"));
    assertHeader(join(rig.image("copy"), name));
    await assertRawBelow();
  });

  test("snapshot and its deletion: the base is named as raw, and merged into as raw", async () => {
    await rig.facade.createSnapshot("g", { name: "s", diskOnly: true });
    await assertRawBelow();
    await writeHeader();
    const deleted = await rig.facade.deleteSnapshot("g", "s", {});
    if (deleted.operation !== undefined) assert.equal((await rig.finish(deleted.operation)).state, "succeeded");
    await assertRawBelow();
  });

  test("migration: every byte arrives as raw", async () => {
    const moved = await rig.finish(await rig.facade.migrateStorage("g", { to: rig.image("dst") }));
    assert.equal(moved.state, "succeeded", String(moved.error?.message));
    const nodes = await eye.execute("query-named-block-nodes", { flat: true });
    assert.ok(!nodes.some(({ file }) => file.includes(secret)));
    const [disk] = await rig.facade.domainDisks("g");
    for (const { path } of disk?.chain ?? []) assert.ok(path.startsWith(rig.image("dst")), path);
    const active = disk?.chain.at(-1);
    await rig.facade.destroyDomain("g");
    if (active?.format === "raw") assertHeader(active.path);
    await rig.facade.startDomain("g");
    eye = await rig.watch("g");
    assert.ok(
      !(await eye.execute("query-named-block-nodes", { flat: true })).some(({ file }) => file.includes(secret)),
    );
  });
});

describe("a running domain", () => {
  const rig = new ServiceRig();
  let pid: number;
  before(async () => {
    await rig.open();
    const xml = rig.domainXml("m", [rig.createImage("m.qcow2")]);
    const sockets = `<serial type='unix'><source mode='bind' path='${rig.path("serial.sock")}'/></serial>
      <graphics type='vnc' socket='${rig.path("vnc.sock")}'/></devices>`;
    await rig.facade.defineDomain(xml.replace("</devices>", sockets));
    pid = rig.pidOf((await rig.facade.startDomain("m")).uuid ?? "");
  });
  after(() => rig.close());

  test("QEMU's sandbox is on: it may start no process and gain no privilege", () => {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    assert.match(status, /^Seccomp:\t2$/m);
    assert.match(status, /^NoNewPrivs:\t1$/m);
    const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    assert.equal(
      args[args.indexOf("-sandbox") + 1],
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    );
  });

  test("sockets, pid file, log and state are the owner's alone, in directories of their own", async () => {
    const [domain] = await rig.facade.listDomains();
    const directory = rig.path("run", "domains", domain?.uuid ?? "");
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
    assert.equal(mode(directory), "700");
    for (const name of ["qmp.sock", "qemu.log"]) assert.equal(mode(join(directory, name)), "600", name);
    for (const name of ["serial.sock", "vnc.sock"]) assert.equal(mode(rig.path(name)), "600", name);
    for (const name of readdirSync(rig.path("state"))) assert.equal(mode(rig.path("state", name)), "600", name);
  });

  test("a memory file is the owner's alone", async () => {
    const file = rig.path("saved");
    const saved = await rig.facade.saveDomain("m", { file });
    assert.equal(saved.state, "succeeded", String(saved.error?.message));
    assert.equal((statSync(file).mode & 0o777).toString(8), "600");
  });
});
