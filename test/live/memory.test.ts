/** Memory to a file and back, on a real QEMU without a guest: its RAM and its disks are looked at through the monitor. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isQmError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/error-registry.ts";
import type { DomainDefinition } from "../../src/model/domain.ts";
import { buildCommandLine, type RuntimePaths } from "../../src/qemu/command-line.ts";
import type { QemuIdentity } from "../../src/qemu/identity.ts";
import { readMemoryFile } from "../../src/qemu/memory-file.ts";
import { abandonSave, saveMemory } from "../../src/qemu/memory-stream.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { stopQemu } from "../../src/qemu/process.ts";
import { startQemu } from "../../src/qemu/start.ts";
import { sampleDomain, sampleDisk, samplePaths } from "../qemu/sample-domain.ts";
import { QemuRig } from "./qemu-rig.ts";

let rig: QemuRig;
let image: string;
let def: DomainDefinition;
let paths: RuntimePaths;
const running: QemuIdentity[] = [];

beforeEach(() => {
  rig = new QemuRig();
  image = rig.createImage("vda.qcow2");
  const source = { type: "file", path: image, format: "qcow2" } as const;
  def = sampleDomain({ memoryBytes: 32 * 1024 * 1024, disks: [sampleDisk({ source })] });
  paths = samplePaths(rig.directory, { chains: { vda: [source] } });
});
afterEach(async () => {
  for (const identity of running.splice(0)) await stopQemu(identity, { force: true });
  await rig.close();
});

async function start(options: { incoming?: { path: string }; paused?: boolean; def?: DomainDefinition } = {}) {
  const { def: other = def, ...rest } = options;
  const identity = await startQemu({ def: other, commandLine: buildCommandLine(other, paths), paths, ...rest });
  running.push(identity);
  return await rig.connect(identity.qmpSocket);
}

function save(monitor: Monitor, changes: Partial<Parameters<typeof saveMemory>[1]> = {}): Promise<void> {
  const socketPath = rig.path("memory.sock");
  return saveMemory(monitor, { path: rig.path("memory"), xml: "<domain/>", socketPath, live: true, ...changes });
}

async function hmp(monitor: Monitor, line: string): Promise<string> {
  return await monitor.execute("human-monitor-command", { "command-line": line });
}

async function statusOf(monitor: Monitor): Promise<string> {
  return (await monitor.execute("query-status")).status;
}

async function assertRejects(promise: Promise<unknown>, code: ErrorCode, words: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => isQmError(error, code) && words.test(error.message));
}

/** Overlay of what the guest's disk is now, opened in QEMU under the name `overlay`. */
async function openOverlay(monitor: Monitor, name: string): Promise<string> {
  const path = rig.createImage(name, "qcow2", image);
  const file = { driver: "file", filename: path } as const;
  await monitor.execute("blockdev-add", { driver: "qcow2", "node-name": name, file, backing: null });
  return path;
}

/** A program that changes each page from 1 MiB to 30 MiB, for ever. */
function restlessBootSector(): Buffer {
  const sector = Buffer.alloc(512);
  // cli; ds = 0; lgdt [0x7c60]; protected mode on; ds = 8; off: ds reaches all memory from now on
  sector.set([0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x0f, 0x01, 0x16, 0x60, 0x7c, 0x0f, 0x20, 0xc0, 0x0c, 0x01], 0);
  sector.set([0x0f, 0x22, 0xc0, 0xbb, 0x08, 0x00, 0x8e, 0xdb, 0x24, 0xfe, 0x0f, 0x22, 0xc0], 15);
  // edi = 0x100000; do [edi] += 1, edi += 0x1000 while edi < 0x1e00000; again
  sector.set([0x66, 0xbf, 0x00, 0x00, 0x10, 0x00, 0x67, 0xfe, 0x07, 0x66, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00], 28);
  sector.set([0x66, 0x81, 0xff, 0x00, 0x00, 0xe0, 0x01, 0x72, 0xed, 0xeb, 0xe5], 44);
  sector.set([0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf, 0x00], 64 + 8); // a flat segment, the table's second
  sector.set([0x0f, 0x00, 0x40, 0x7c, 0x00, 0x00], 96); // where the table is
  sector.set([0x55, 0xaa], 510);
  return sector;
}

const writeToDisk = 'qemu-io -d /machine/peripheral/vda/virtio-backend "write -P 7 0 64k"';

describe("saveMemory", () => {
  for (const live of [true, false]) {
    it(`stops the guest with its memory in the file, and a new QEMU goes on from there (live: ${live})`, async () => {
      const monitor = await start();
      const seen: [number, number][] = [];
      const states: string[] = [];
      monitor.onEvent((event) => states.push(event.event));
      await save(monitor, { live, onProgress: (done, total) => seen.push([done, total]) });
      assert.equal(await statusOf(monitor), "postmigrate");
      const order = states.filter((name) => name === "STOP" || name === "MIGRATION");
      assert.equal(order[0], live ? "MIGRATION" : "STOP", order.join(" "));
      assert.equal(order.filter((name) => name === "STOP").length, 1);
      assert.deepEqual(seen.at(-1), [def.memoryBytes, def.memoryBytes]);
      const { xml, streamBytes } = await readMemoryFile(rig.path("memory"));
      assert.equal(xml, "<domain/>");
      assert.ok(streamBytes > 100_000);
      assert.equal(statSync(rig.path("memory")).mode & 0o777, 0o600);
      assert.equal(existsSync(rig.path("memory.sock")), false);
      const ram = await hmp(monitor, "xp /64xw 0x7c00");
      const registers = await hmp(monitor, "info registers");

      await stopQemu(running[0] as QemuIdentity, { force: true });
      const again = await start({ incoming: { path: rig.path("memory") }, paused: true });
      assert.ok(["paused", "prelaunch"].includes(await statusOf(again)), await statusOf(again));
      assert.equal(await hmp(again, "xp /64xw 0x7c00"), ram);
      assert.equal(await hmp(again, "info registers"), registers);
      await again.execute("cont");
      assert.equal(await statusOf(again), "running");
      assert.equal(existsSync(rig.path("memory")), true);
    });
  }

  it("lets the loaded guest run unless it is to stand still, whatever it did when it was saved", async () => {
    const monitor = await start({ paused: true });
    await save(monitor);
    await stopQemu(running[0] as QemuIdentity, { force: true });
    assert.equal(await statusOf(await start({ incoming: { path: rig.path("memory") } })), "running");
  });

  it("leaves the disks as they are at that instant: a snapshot is taken then, and the guest goes on in it", async () => {
    const monitor = await start();
    await save(monitor);
    const overlay = await openOverlay(monitor, "ov");
    const actions = [{ type: "blockdev-snapshot", data: { node: "qm-vda-0", overlay: "ov" } }] as const;
    await monitor.execute("transaction", { actions });
    await monitor.execute("cont");
    await hmp(monitor, writeToDisk);
    await stopQemu(running[0] as QemuIdentity, { force: false });
    const mapOf = (path: string): string =>
      execFileSync("qemu-img", ["map", "--output=json", path], { encoding: "utf8" });
    assert.match(mapOf(overlay), /"length": 65536, "depth": 0, "present": true/);
    assert.doesNotMatch(mapOf(image), /"present": true/);
  });

  it("leaves the images of a guest that stands still usable by block jobs, and can save it again", async () => {
    const monitor = await start({ paused: true });
    await save(monitor);
    await openOverlay(monitor, "ov");
    const actions = [{ type: "blockdev-snapshot", data: { node: "qm-vda-0", overlay: "ov" } }] as const;
    await monitor.execute("transaction", { actions });
    const jobGone = new Promise<void>((resolve) => {
      monitor.onEvent((event) => {
        if (event.event === "JOB_STATUS_CHANGE" && event.data.status === "null") resolve();
      });
    });
    await monitor.execute("block-commit", { "job-id": "j", device: "ov" });
    // While the job is there, QEMU cannot hand its images over.
    await assertRejects(save(monitor, { path: rig.path("second") }), "QM_OPERATION_FAILED", /saving the memory/);
    await monitor.execute("job-cancel", { id: "j" });
    await jobGone;
    await save(monitor, { path: rig.path("second") });
    assert.equal((await readMemoryFile(rig.path("second"))).xml, "<domain/>");
    assert.equal(await statusOf(monitor), "postmigrate");
  });

  it("stops a guest that changes its memory faster than it can be written", async () => {
    const path = rig.createImage("boot.raw", "raw", undefined, "1M");
    writeFileSync(path, restlessBootSector(), { flag: "r+" });
    const disk = sampleDisk({ target: "vdb", source: { type: "file", path, format: "raw" } });
    const monitor = await start({ def: { ...def, os: { bootOrder: ["hd"] }, disks: [disk] } });
    const isRestless = async (): Promise<boolean> => {
      const read = () => hmp(monitor, "xp /1xb 0x100000");
      return /EIP=00007c/.test(await hmp(monitor, "info registers")) && (await read()) !== (await read());
    };
    // Nothing tells when the firmware has started it.
    while (!(await isRestless())) await delay(20);
    await monitor.execute("migrate-set-parameters", { "downtime-limit": 1 });
    // On a busy host the guest may not get the time to outrun us.
    let outran = false;
    for (let attempt = 0; attempt < 20 && !outran; attempt++) {
      const file = rig.path(`restless${attempt}`);
      await save(monitor, { path: file });
      assert.equal(await statusOf(monitor), "postmigrate");
      outran = (await readMemoryFile(file)).streamBytes > 2 * def.memoryBytes;
      await monitor.execute("cont");
      assert.equal(await statusOf(monitor), "running");
    }
    assert.ok(outran);
  });

  it("takes nothing of a file that is there already", async () => {
    const monitor = await start();
    writeFileSync(rig.path("memory"), "mine");
    await assertRejects(save(monitor), "QM_FILE_EXISTS", /memory/);
    assert.equal(readFileSync(rig.path("memory"), "utf8"), "mine");
    assert.equal(await statusOf(monitor), "running");
  });

  for (const [was, live] of [
    ["running", true],
    ["running", false],
    ["paused", true],
  ] as const) {
    it(`gives up when it is cancelled, the guest ${was} as before (live: ${live})`, async () => {
      const monitor = await start();
      if (was === "paused") await monitor.execute("stop");
      const abort = new AbortController();
      monitor.onEvent(({ event }) => {
        if (event === "MIGRATION") abort.abort();
      });
      await assertRejects(save(monitor, { live, signal: abort.signal }), "QM_CANCELLED", /saving the memory/);
      const { running: runs } = await monitor.execute("query-status");
      assert.equal(runs, was === "running");
      assert.equal(existsSync(rig.path("memory")), false);
      // Nothing is left that would be in the way.
      await save(monitor, { live });
    });
  }

  it("rejects when the file cannot be written, and the guest runs on", async () => {
    const monitor = await start();
    // Its own limit on file sizes makes the kernel refuse the write.
    const script = `
      import { connectMonitor } from "./src/qemu/monitor.ts";
      import { saveMemory } from "./src/qemu/memory-stream.ts";
      process.on("SIGXFSZ", () => {});
      const monitor = await connectMonitor(${JSON.stringify(paths.qmpSocket)});
      const [path, socketPath] = ${JSON.stringify([rig.path("memory"), rig.path("memory.sock")])};
      await saveMemory(monitor, { path, socketPath, xml: "<domain/>", live: false }).then(
        () => console.log("saved"), (error) => console.log(error.code, error.message));
      await monitor.close();`;
    await monitor.close();
    const cwd = fileURLToPath(new URL("../..", import.meta.url));
    const limited = `ulimit -f 64; exec "$0" --input-type=module -e "$1"`;
    const child = spawn("bash", ["-c", limited, process.execPath, script], {
      cwd,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.on("data", (chunk) => (said += String(chunk)));
    await once(child, "close");
    assert.match(said, /QM_IO writing .*memory failed: EFBIG/);
    const again = await rig.connect(paths.qmpSocket);
    assert.equal(await statusOf(again), "running");
    assert.equal(existsSync(rig.path("memory")), false);
  });

  for (const live of [true, false]) {
    it(`lets the guest go on when we are killed in the middle; what is left is a torn file (live: ${live})`, async () => {
      const monitor = await start();
      await monitor.close();
      const script = `
        import { connectMonitor } from "./src/qemu/monitor.ts";
        import { saveMemory } from "./src/qemu/memory-stream.ts";
        const monitor = await connectMonitor(${JSON.stringify(paths.qmpSocket)});
        const [path, socketPath] = ${JSON.stringify([rig.path("memory"), rig.path("memory.sock")])};
        monitor.onEvent((event) => event.event === "MIGRATION" && process.kill(process.pid, "SIGKILL"));
        await saveMemory(monitor, { path, socketPath, xml: "<domain/>", live: ${live} });`;
      const cwd = fileURLToPath(new URL("../..", import.meta.url));
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], { cwd, stdio: "inherit" });
      assert.equal((await once(child, "close"))[1], "SIGKILL");

      const again = await rig.connect(paths.qmpSocket);
      await abandonSave(again, { wasRunning: true, socketPath: rig.path("memory.sock") });
      assert.equal(await statusOf(again), "running");
      await assertRejects(readMemoryFile(rig.path("memory")), "QM_MEMORY_FILE", /not written to its end/);
    });
  }
});

describe("a memory file that does not fit", () => {
  it("is refused in QEMU's words when the hardware differs, and no process is left", async () => {
    await save(await start());
    await stopQemu(running.pop() as QemuIdentity, { force: true });
    const other = { ...def, disks: [], memoryBytes: 64 * 1024 * 1024 };
    const incoming = { path: rig.path("memory") };
    await assertRejects(start({ def: other, incoming }), "QM_QEMU_START", /[Ss]ize mismatch|Length mismatch/);
    assert.equal(running.length, 0);
  });

  it("is refused before QEMU is started when it is torn, foreign, cut off or missing", async () => {
    await save(await start());
    await stopQemu(running.pop() as QemuIdentity, { force: true });
    const whole = readFileSync(rig.path("memory"));
    const edit = (name: string, change: (text: Buffer) => Buffer): string => {
      writeFileSync(rig.path(name), change(Buffer.from(whole)));
      return rig.path(name);
    };
    const replaced = (from: string, to: string) => (bytes: Buffer) => {
      bytes.write(to, bytes.indexOf(from), "latin1");
      return bytes;
    };
    const cases: [string, RegExp][] = [
      [edit("torn", replaced("complete", "partial ")), /not written to its end/],
      [edit("newer", replaced("memory 1", "memory 2")), /its version is 2/],
      [edit("foreign", replaced("qmirror", "another")), /did not write it/],
      [edit("empty", () => Buffer.alloc(0)), /did not write it/],
      [edit("xml", replaced(" 9 ", " x ")), /its length/],
      [rig.directory, /not a regular file/],
    ];
    truncateSync(rig.path("memory"), whole.length - 1);
    for (const [path, words] of [...cases, [rig.path("memory"), /its length/] as const]) {
      await assertRejects(start({ incoming: { path } }), "QM_MEMORY_FILE", words);
    }
    await assertRejects(start({ incoming: { path: rig.path("none") } }), "QM_NO_FILE", /none/);
    assert.equal(existsSync(paths.pidFile), false);
  });
});
