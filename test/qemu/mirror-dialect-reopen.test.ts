import assert from "node:assert/strict";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { isQmError, type QmError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/error-registry.ts";
import type { ImageNode, MirrorDialect, MirroredDiskPlan } from "../../src/qemu/mirror-dialect/dialect.ts";
import { createReopenDialect, reopenCommands } from "../../src/qemu/mirror-dialect/reopen.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import type { QapiCommands, QapiEvents } from "../../src/qemu/qapi.gen.ts";
import { connectQmp } from "../../src/qmp/index.ts";
import { startFakeQemu, type FakeQemu, type FakeQemuOptions } from "../../src/testing/fake-qemu/index.ts";

const timeoutMs = 2000;
const signal = new AbortController().signal;
const targets = ["vda", "vdb", "vdc"] as const;

let directory: string;
let fake: FakeQemu;
let monitor: Monitor;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "qmirror-reopen-"));
});

afterEach(async () => {
  await monitor.close();
  await fake.close();
  await rm(directory, { recursive: true });
});

async function connect(): Promise<Monitor> {
  return await connectQmp<QapiCommands, QapiEvents>({ path: fake.socketPath });
}

function node(name: string, format: "raw" | "qcow2" = "qcow2"): ImageNode {
  return { image: { type: "file", path: join(directory, name), format }, node: "", fileNode: "" };
}

const disks = (): MirroredDiskPlan[] =>
  targets.map((target) => ({
    target,
    device: `drive-${target}`,
    qdev: "",
    sizeBytes: 1 << 20,
    base: node(`${target}.raw`, "raw"),
    overlay: node(`${target}.s1`),
    mirror: { ...node(`${target}.m1`), jobId: "", backing: [node(`${target}.copy`, "raw")], sharesBase: false },
    cache: { direct: true, noFlush: false, discard: "ignore", detectZeroes: "off" },
    reuse: false,
  }));

async function startFake(options: Partial<FakeQemuOptions> & Pick<FakeQemuOptions, "kind">): Promise<void> {
  const devices = disks().map(({ device, base: { image }, sizeBytes }) => {
    return { device, file: image.path, format: image.format, sizeBytes };
  });
  fake = await startFakeQemu({ devices, ...options });
  monitor = await connect();
}

const bases = () => disks().map(({ base }) => base.image.path);
const overlays = () => disks().map(({ overlay }) => overlay.image.path);
const mirrors = () => disks().map(({ mirror }) => mirror.image.path);
const active = () => targets.map((target) => fake.activeFile(`drive-${target}`));
const sent = (command: string) => fake.log.filter((entry) => entry.command === command);

function writeAll(data: string): void {
  for (const target of targets) fake.guestWrite(`drive-${target}`, data);
}

function assertWrites(files: readonly string[], expected: readonly string[]): void {
  for (const file of files) assert.deepEqual(fake.writesIn(file), expected, file);
}

async function rejectsWith(promise: Promise<unknown>, code: ErrorCode): Promise<QmError> {
  const error: unknown = await promise.then(
    () => assert.fail(`${code} was expected`),
    (thrown: unknown) => thrown,
  );
  assert.ok(isQmError(error, code), String(error));
  return error;
}

for (const kind of ["redhat", "reopen"] as const) {
  const prefix = kind === "redhat" ? "__com.redhat_" : "";
  const reopen = `${prefix}drive-reopen`;
  const dialect: MirrorDialect = createReopenDialect({
    prefix,
    createImage: async (_disk, image, backing, sizeBytes) => {
      await writeFile(image.path, JSON.stringify({ backing, sizeBytes }), { flag: "wx" });
    },
  });

  /** A fake that has taken the snapshot; the guest has written `a` to every base and `b` to every overlay. */
  const startMirrored = async (options: Partial<FakeQemuOptions> = {}): Promise<void> => {
    await startFake({ kind, ...options });
    if (options.running !== false) writeAll("a");
    await dialect.prepare(monitor, disks(), signal);
    await dialect.takeSnapshot(monitor, disks());
    await dialect.startMirrors(monitor, disks(), 0);
    await dialect.awaitReady(monitor, disks(), signal);
    if (options.running !== false) writeAll("b");
  };

  describe(kind, () => {
    it("takes snapshot and mirrors in one transaction, and finds them ready at once", async () => {
      await startMirrored();
      assert.equal(dialect.name, kind);
      assert.equal(sent("transaction").length, 1);
      assert.equal(sent(`${prefix}drive-mirror`).length, 0);
      assert.deepEqual(active(), overlays());
      assertWrites(bases(), ["a"]);
      assertWrites([...overlays(), ...mirrors()], ["b"]);
      assert.deepEqual(
        await dialect.observe(monitor, disks()),
        targets.map((target) => ({ target, active: "overlay", job: "ready" })),
      );
    });

    it("changes nothing when the transaction is refused for the last disk", async () => {
      await startFake({ kind });
      await dialect.prepare(monitor, disks(), signal);
      fake.failOpen(disks()[2]?.mirror.image.path ?? "", "Permission denied");
      await rejectsWith(dialect.takeSnapshot(monitor, disks()), "QM_QMP_COMMAND");
      assert.deepEqual(active(), bases());
      assert.deepEqual(
        (await dialect.observe(monitor, disks())).map((entry) => entry.active),
        ["base", "base", "base"],
      );
    });

    it("pivots: the guest is stopped, every disk reopened, and resumed after the decision on the mirrors", async () => {
      await startMirrored();
      await dialect.attachBacking(monitor, disks());
      await dialect.preparePivot(monitor, disks(), timeoutMs);
      assert.equal(fake.running, false);
      assert.deepEqual(active(), mirrors());
      assertWrites([...overlays(), ...mirrors()], ["b"]);
      assert.deepEqual(await dialect.finishPivot(monitor, disks()), []);
      writeAll("c");
      assertWrites(overlays(), ["b"]);
      assertWrites(mirrors(), ["b", "c"]);
    });

    it("leaves a guest stopped that was stopped before", async () => {
      await startMirrored({ running: false });
      await dialect.preparePivot(monitor, disks(), timeoutMs);
      await dialect.finishPivot(monitor, disks());
      assert.equal(fake.running, false);
      assert.deepEqual([sent("stop").length, sent("cont").length], [0, 0]);
    });

    it("aborts: the guest is on its sources, without a stop; twice does no harm", async () => {
      await startMirrored();
      await dialect.stopMirrors(monitor, disks());
      await dialect.stopMirrors(monitor, disks());
      writeAll("c");
      assertWrites(overlays(), ["b", "c"]);
      assertWrites(mirrors(), ["b"]);
      assert.deepEqual([sent("stop").length, sent(reopen).length], [0, 3]);
    });

    it("a drive-reopen refused for one disk: taken back, every disk on its source and running", async () => {
      await startMirrored();
      fake.failOpen(mirrors()[1] ?? "", "Permission denied");
      const error = await rejectsWith(dialect.preparePivot(monitor, disks(), timeoutMs), "QM_JOB_FAILED");
      assert.match(error.message, /'vdb'.*Permission denied/);
      assert.equal(fake.running, false);
      await dialect.cancelPivot(monitor, disks());
      writeAll("c");
      assert.deepEqual(active(), overlays());
      assertWrites(overlays(), ["b", "c"]);
    });

    it("stays stopped when a source cannot be opened again: no write is split", async () => {
      await startMirrored();
      await dialect.preparePivot(monitor, disks(), timeoutMs);
      fake.failOpen(overlays()[0] ?? "", "Input/output error");
      const error = await rejectsWith(dialect.cancelPivot(monitor, disks()), "QM_JOB_FAILED");
      assert.match(error.message, /'vda'.*Input\/output error.*the guest is stopped/);
      assert.equal(fake.running, false);
    });

    it("connection lost between the first and the second drive-reopen: observed and taken back by the next one", async () => {
      await startMirrored();
      fake.faults.dropConnectionBefore(reopen, 2);
      await rejectsWith(dialect.preparePivot(monitor, disks(), timeoutMs), "QM_QMP_LOST");
      monitor = await connect();
      assert.deepEqual(
        (await dialect.observe(monitor, disks())).map((entry) => [entry.active, entry.job]),
        [
          ["mirror", undefined],
          ["overlay", "ready"],
          ["overlay", "ready"],
        ],
      );
      await dialect.cancelPivot(monitor, disks());
      writeAll("c");
      assertWrites(overlays(), ["b", "c"]);
    });

    it("connection lost after the decision: the next one finishes, as often as it is asked", async () => {
      await startMirrored();
      await dialect.preparePivot(monitor, disks(), timeoutMs);
      fake.faults.dropConnectionAfter("cont", 1);
      await rejectsWith(dialect.finishPivot(monitor, disks()), "QM_QMP_LOST");
      monitor = await connect();
      assert.deepEqual(await dialect.finishPivot(monitor, disks()), []);
      writeAll("c");
      assertWrites(mirrors(), ["b", "c"]);
    });

    it("QEMU killed at any drive-reopen: the sources hold every write; after the last, the mirrors too", async () => {
      for (const nth of [1, 2, 3]) {
        await startMirrored();
        const fault = fake.faults.hang(reopen, nth);
        const pivot = rejectsWith(dialect.preparePivot(monitor, disks(), timeoutMs), "QM_QMP_LOST");
        await fault.reached;
        await fake.kill();
        await pivot;
        assertWrites(overlays(), ["b"]);
        for (const file of [...overlays(), ...mirrors()]) await rm(file);
      }
      await startMirrored();
      await dialect.preparePivot(monitor, disks(), timeoutMs);
      await fake.kill();
      assertWrites(mirrors(), ["b"]);
    });

    it("refuses to take a pivot back when somebody has resumed the guest on its mirrors", async () => {
      await startMirrored();
      await dialect.preparePivot(monitor, disks(), timeoutMs);
      await monitor.execute("cont");
      const error = await rejectsWith(dialect.cancelPivot(monitor, disks()), "QM_OPERATION_FAILED");
      assert.match(error.message, /vda, vdb, vdc/);
      assert.deepEqual(active(), mirrors());
    });

    it("tells which disk was not reopened, when the pivot is finished without it", async () => {
      await startMirrored();
      await dialect.preparePivot(monitor, disks(), timeoutMs);
      const [disk] = disks();
      assert.ok(disk);
      await dialect.cancelPivot(monitor, [disk]);
      assert.deepEqual(await dialect.finishPivot(monitor, disks()), [
        { target: "vda", reason: `QEMU has ${disk.overlay.image.path} open` },
      ]);
    });

    it("clones: one instant for all disks, decided while the guest is stopped, guest on its sources", async () => {
      await startMirrored();
      const seen: unknown[] = [];
      await dialect.finishClone(monitor, disks(), () => seen.push(fake.running, ...active()), timeoutMs);
      assert.deepEqual(seen, [false, ...overlays()]);
      writeAll("c");
      assertWrites(overlays(), ["b", "c"]);
      assertWrites(mirrors(), ["b"]);
    });

    it("clone given up by the decision or by QEMU: the guest runs on its sources", async () => {
      await startMirrored();
      const giveUp = () => {
        throw new Error("no space in the journal");
      };
      await assert.rejects(dialect.finishClone(monitor, disks(), giveUp, timeoutMs), /no space/);
      writeAll("c");
      assertWrites(overlays(), ["b", "c"]);

      for (const file of [...overlays(), ...mirrors()]) await rm(file);
      await monitor.close();
      await fake.close();
      await startMirrored();
      fake.faults.refuse(reopen, 2, "Device 'drive-vdb' is in use", "DeviceInUse");
      await rejectsWith(
        dialect.finishClone(monitor, disks(), () => assert.fail("decided"), timeoutMs),
        "QM_JOB_FAILED",
      );
      writeAll("c");
      assertWrites(overlays(), ["b", "c"]);
    });

    it("creates no image that is reused, and all others with their backing files", async () => {
      await startFake({ kind });
      const plan = disks().map((disk, index) => ({ ...disk, reuse: index === 0 }));
      await dialect.prepare(monitor, plan, signal);
      await assert.rejects(access(overlays()[0] ?? ""));
      for (const file of [...overlays().slice(1), ...mirrors().slice(1)]) await access(file);
    });

    it("does not merge overlays back, and says so", async () => {
      await startMirrored();
      await rejectsWith(
        dialect.commitBack(monitor, disks(), () => assert.fail("decided"), timeoutMs),
        "QM_UNSUPPORTED",
      );
    });

    it("names the commands that it needs", async () => {
      await startMirrored();
      const commands = (await monitor.execute("query-commands")).map(({ name }) => name);
      assert.deepEqual(
        reopenCommands(prefix).filter((command) => !commands.includes(command)),
        [],
      );
    });
  });
}

describe("mirror jobs", () => {
  const dialect = createReopenDialect({
    prefix: "__com.redhat_",
    createImage: (_disk, image) => writeFile(image.path, ""),
  });

  async function start(options: Partial<FakeQemuOptions> = {}): Promise<void> {
    await startFake({ kind: "redhat", ...options });
    await dialect.prepare(monitor, disks(), signal);
    await dialect.takeSnapshot(monitor, disks());
  }

  it("are waited for while they copy, and not pivoted before", async () => {
    await start();
    const letGo = fake.holdMirror("drive-vdb");
    writeAll("b");
    await rejectsWith(dialect.preparePivot(monitor, disks(), timeoutMs), "QM_MIRROR_NOT_READY");
    assert.equal(fake.running, true);
    const looked = fake.faults.hang("query-block-jobs", 2);
    const ready = dialect.awaitReady(monitor, disks(), signal);
    await looked.reached;
    letGo();
    looked.release();
    await ready;
    assertWrites(mirrors(), ["b"]);
  });

  it("waiting ends with the signal", async () => {
    await start();
    fake.holdMirror("drive-vdb");
    await rejectsWith(dialect.awaitReady(monitor, disks(), AbortSignal.timeout(20)), "QM_CANCELLED");
  });

  it("that ended by themselves are reported, and started again with what they missed", async () => {
    await start();
    fake.breakMirror("drive-vda", "No space left on device");
    writeAll("b");
    await rejectsWith(dialect.awaitReady(monitor, disks(), signal), "QM_JOB_FAILED");
    await rejectsWith(dialect.preparePivot(monitor, disks(), timeoutMs), "QM_MIRROR_BROKEN");
    assert.equal(fake.running, true);
    await monitor.execute("stop");
    await dialect.cancelPivot(monitor, disks().slice(0, 1));
    assert.equal(fake.running, false, "a stop that is not ours is not taken back");
    await dialect.startMirrors(monitor, disks(), 1000);
    await dialect.awaitReady(monitor, disks(), signal);
    assert.deepEqual(
      sent("__com.redhat_drive-mirror").map(({ args }) => args["speed"]),
      [1000],
    );
    assertWrites(mirrors(), ["b"]);
  });

  it("are not started again where QEMU would not copy what they missed", async () => {
    await start({ mirrors: "driver" });
    await dialect.stopMirrors(monitor, disks());
    writeAll("b");
    await rejectsWith(dialect.startMirrors(monitor, disks(), 0), "QM_UNSUPPORTED");
    writeAll("c");
    assertWrites(overlays(), ["b", "c"]);
    assertWrites(mirrors(), []);
  });
});
