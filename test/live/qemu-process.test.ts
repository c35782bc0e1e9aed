import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { afterEach, beforeEach, describe, it } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { buildCommandLine } from "../../src/qemu/command-line.ts";
import { identifyByPidFile, isAlive, type QemuIdentity } from "../../src/qemu/identity.ts";
import { findAgain, stopQemu } from "../../src/qemu/process.ts";
import { sampleDisk, sampleDomain, samplePaths, sampleUuid } from "../qemu/sample-domain.ts";
import { QemuRig } from "./qemu-rig.ts";

let rig: QemuRig;
beforeEach(() => {
  rig = new QemuRig();
});
afterEach(() => rig.close());

const paused = { startPaused: true } as const;

describe("startQemu", () => {
  it("starts every kind of device, with names that contain commas", async () => {
    const chain = [
      { type: "file", path: rig.createImage("a,b.s2", "qcow2", rig.createImage("a,b.s1")), format: "qcow2" },
      { type: "file", path: rig.path("a,b.s1"), format: "qcow2" },
    ] as const;
    const raw = { type: "file", path: rig.createImage("raw,file=x", "raw"), format: "raw" } as const;
    const paths = samplePaths(rig.directory, { ...paused, chains: { vda: chain } });
    const def = sampleDomain({
      name: "a,debug-threads=on",
      features: [],
      os: { bootOrder: ["hd", "cdrom"] },
      disks: [
        sampleDisk({ source: chain[0], cache: "none", io: "native", discard: "unmap", detectZeroes: "unmap" }),
        sampleDisk({ target: "sda", bus: "scsi", source: raw, cache: "directsync" }),
        { target: "sdb", bus: "sata", device: "cdrom", readonly: true },
      ],
      serials: [
        { type: "file", path: rig.path("serial,0.log") },
        { type: "unix", path: rig.path("serial,1.sock") },
      ],
      graphics: { autoport: true, listen: "127.0.0.1", socket: rig.path("vnc,0.sock") },
      agentChannel: { name: "org.qemu.guest_agent.0" },
      interfaces: [{ type: "user", model: "e1000", mac: "52:54:00:00:00:01" }],
      qemuEnv: { QMIRROR_TEST: "a b" },
    });
    const identity = await rig.start(def, paths);
    assert.ok(isAlive(identity));

    for (const name of ["run/qmp.sock", "run/agent.sock", "serial,1.sock", "vnc,0.sock"]) {
      assert.equal(statSync(rig.path(name)).mode & 0o777, 0o600, name);
    }
    assert.equal(statSync(rig.path("run")).mode & 0o777, 0o700);

    const monitor = await rig.connect(identity.qmpSocket);
    const [name, status, blocks] = await Promise.all([
      monitor.execute("query-name"),
      monitor.execute("query-status"),
      monitor.execute("query-block"),
    ]);
    assert.equal(name.name, "a,debug-threads=on");
    assert.equal(status.status, "prelaunch");
    assert.deepEqual(
      blocks.map(({ qdev, inserted }) => [qdev, inserted?.["node-name"], inserted?.cache.direct]),
      [
        ["/machine/peripheral/vda/virtio-backend", "qm-vda-0", true],
        ["sda", "qm-sda-0", true],
        ["sdb", undefined, undefined],
      ],
    );
    const environment = readFileSync(`/proc/${identity.pid}/environ`, "utf8");
    assert.match(environment, /QMIRROR_TEST=a b\0/);
  });

  it("leaves QEMU in a session of its own, without our standard streams, in its sandbox", async () => {
    const identity = await rig.start(sampleDomain(), samplePaths(rig.directory, paused));
    const stat = readFileSync(`/proc/${identity.pid}/stat`, "latin1");
    const session = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3];
    assert.equal(session, String(identity.pid));
    const log = rig.path("run/qemu.log");
    const standard = [0, 1, 2].map((fd) => readlinkSync(`/proc/${identity.pid}/fd/${fd}`));
    assert.deepEqual(standard, ["/dev/null", log, log]);
    assert.match(readFileSync(`/proc/${identity.pid}/status`, "utf8"), /^Seccomp:\s+2$/m);
  });

  it("starts a QEMU that outlives the process that started it", async () => {
    const paths = samplePaths(rig.directory, paused);
    const program = `
      import { startQemu } from ${JSON.stringify(import.meta.resolve("../../src/qemu/start.ts"))};
      const options = JSON.parse(process.argv[1]);
      process.stdout.write(JSON.stringify(await startQemu(options)));`;
    const def = sampleDomain();
    const options = JSON.stringify({ def, paths, commandLine: buildCommandLine(def, paths) });
    // It ends by itself, so nothing of the start holds it; and its output ends, so QEMU does not have it.
    const output = execFileSync(process.execPath, ["--input-type=module-typescript", "--eval", program, options]);
    const identity = JSON.parse(output.toString()) as QemuIdentity;
    try {
      const monitor = await findAgain(identity);
      assert.ok(monitor !== "dead");
      await monitor.close();
    } finally {
      await stopQemu(identity, { force: true });
    }
  });

  it("tells QEMU's words when it does not start, and leaves no process", async () => {
    const paths = samplePaths(rig.directory, paused);
    writeFileSync(rig.path("not-qcow2"), "x".repeat(1024));
    const source = { type: "file", path: rig.path("not-qcow2"), format: "qcow2" } as const;
    const broken = sampleDomain({ disks: [sampleDisk({ source })] });
    await assert.rejects(rig.start(broken, { ...paths, chains: { vda: [source] } }), (error) => {
      assert.ok(isQmError(error, "QM_QEMU_START"));
      assert.match(String(error.fields.reason), /Image is not in qcow2 format/);
      return true;
    });
    assert.equal(await identifyByPidFile(paths, sampleUuid), undefined);

    const missing = rig.start(sampleDomain({ emulator: rig.path("no-qemu") }), paths);
    await assert.rejects(missing, (error) => isQmError(error, "QM_QEMU_START") && /ENOENT/.test(error.message));
    const nul = rig.start(sampleDomain({ name: "a\0b" }), paths);
    await assert.rejects(nul, (error) => isQmError(error, "QM_QEMU_START"));
    // The log keeps the first failure; the next one's reason does not repeat it.
    const again = rig.start(sampleDomain({ qemuArgs: ["-no-such-option"] }), paths);
    await assert.rejects(again, (error) => {
      assert.ok(isQmError(error, "QM_QEMU_START"));
      assert.match(String(error.fields.reason), /no-such-option: invalid option/);
      assert.doesNotMatch(String(error.fields.reason), /qcow2/);
      return true;
    });
  });

  it("ends a start that is cancelled", async () => {
    const paths = samplePaths(rig.directory);
    // QEMU waits for ever for somebody to connect to this socket.
    const def = sampleDomain({ qemuArgs: ["-chardev", `socket,id=w,path=${rig.path("w")},server=on,wait=on`] });
    const stop = new AbortController();
    const started = rig.start(def, paths, stop.signal);
    setTimeout(() => stop.abort(), 300);
    await assert.rejects(started, (error) => isQmError(error, "QM_CANCELLED"));
    assert.equal(await identifyByPidFile(paths, sampleUuid), undefined);
    await assert.rejects(rig.start(def, paths, stop.signal), (error) => isQmError(error, "QM_CANCELLED"));
  });

  it("refuses a second QEMU on the same paths, and starts over what a killed one left", async () => {
    const paths = samplePaths(rig.directory, paused);
    const first = await rig.start(sampleDomain(), paths);
    await assert.rejects(rig.start(sampleDomain(), paths), (error) => isQmError(error, "QM_DOMAIN_RUNNING"));
    assert.ok(isAlive(first));
    await stopQemu(first, { force: true });
    const second = await rig.start(sampleDomain(), paths);
    assert.notEqual(second.pid, first.pid);
    assert.ok(isAlive(second));
    assert.ok(!isAlive(first));
  });
});

describe("findAgain", () => {
  it("connects to the same QEMU, by its identity or by its pid file", async () => {
    const paths = samplePaths(rig.directory, paused);
    const identity = await rig.start(sampleDomain(), paths);
    assert.deepEqual(await identifyByPidFile(paths, sampleUuid), identity);
    assert.equal(await identifyByPidFile(paths, sampleUuid.replace("6", "7")), undefined);
    const monitor = await findAgain(identity);
    assert.ok(monitor !== "dead");
    assert.equal((await monitor.execute("query-status")).running, false);
    await monitor.close();
  });

  it("says dead for a QEMU that ended and for a pid that means another process now", async () => {
    const identity = await rig.start(sampleDomain(), samplePaths(rig.directory, paused));
    assert.equal(await findAgain({ ...identity, startTimeTicks: "1" }), "dead");
    await stopQemu(identity, { force: false });
    assert.ok(!isAlive(identity));
    assert.equal(await findAgain(identity), "dead");
    await stopQemu(identity, { force: true });
  });

  it("does not take a living QEMU for dead when its monitor is busy, missing, or another's", async () => {
    const identity = await rig.start(sampleDomain(), samplePaths(rig.directory, paused));
    const isConnectError = (error: unknown): boolean => isQmError(error, "QM_QMP_CONNECT");
    await assert.rejects(findAgain({ ...identity, qmpSocket: rig.path("none") }), isConnectError);
    await assert.rejects(findAgain({ ...identity, uuid: "11111111-2222-3333-4444-555555555555" }), (error) => {
      assert.match((error as Error).message, /with uuid 6ba7b810/);
      return isConnectError(error);
    });
    const holder = await rig.connect(identity.qmpSocket);
    await assert.rejects(findAgain(identity, { connectTimeoutMs: 200 }), isConnectError);
    await holder.close();
  });

  it("is bounded when something else listens and stays silent", async () => {
    const identity = await rig.start(sampleDomain(), samplePaths(rig.directory, paused));
    const server = createServer((socket) => socket.on("error", () => undefined)).listen(rig.path("silent"));
    try {
      const silent = { ...identity, qmpSocket: rig.path("silent") };
      await assert.rejects(findAgain(silent, { connectTimeoutMs: 200 }), (error) => isQmError(error, "QM_QMP_CONNECT"));
    } finally {
      server.close();
    }
  });
});
