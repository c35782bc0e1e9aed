import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, it } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { connectQmp, type QmpClient } from "../../src/qmp/index.ts";
import { startFakeQemu, type FakeQemu, type FakeQemuOptions } from "../../src/testing/fake-qemu/index.ts";

let directory: string;
let fake: FakeQemu;
let client: QmpClient;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "qmirror-fake-test-"));
});

afterEach(async () => {
  await client.close();
  await fake.close();
  await rm(directory, { recursive: true });
});

async function start(options: Partial<FakeQemuOptions> = {}): Promise<void> {
  fake = await startFakeQemu({
    kind: "redhat",
    devices: ["d0", "d1"].map((device) => ({ device, file: `/base/${device}`, format: "raw", sizeBytes: 1 << 20 })),
    ...options,
  });
  client = await connectQmp({ path: fake.socketPath });
}

async function image(name: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, "");
  return path;
}

/** Class and words of the refusal; fails the test when there is none. */
async function refusal(command: string, args?: unknown): Promise<[unknown, unknown]> {
  const error: unknown = await client.execute(command, args).then(
    () => assert.fail(`${command} ${JSON.stringify(args)} was accepted`),
    (thrown: unknown) => thrown,
  );
  assert.ok(isQmError(error, "QM_QMP_COMMAND"), String(error));
  return [error.fields["class"], error.fields.reason];
}

const snapshot = (device: string, file: string) => ({
  type: "blockdev-snapshot-sync",
  data: { device, "snapshot-file": file, format: "qcow2", mode: "existing" },
});

describe("strictness", () => {
  const mirror = { device: "d0", target: "/x", full: false, format: "qcow2", mode: "existing" };
  const cases: readonly [name: string, command: string, args: unknown, errorClass: string, words: RegExp][] = [
    ["unknown command", "blockdev-add", {}, "CommandNotFound", /blockdev-add/],
    ["command without its prefix", "drive-mirror", mirror, "CommandNotFound", /drive-mirror/],
    ["second negotiation", "qmp_capabilities", undefined, "CommandNotFound", /qmp_capabilities/],
    ["unknown member", "__com.redhat_drive-mirror", { ...mirror, sync: "top" }, "InvalidParameter", /'sync'/],
    ["member of a command that has none", "query-block", { flat: true }, "InvalidParameter", /'flat'/],
    ["missing member", "__com.redhat_drive-mirror", { device: "d0", full: true }, "MissingParameter", /'target'/],
    ["string for a boolean", "__com.redhat_drive-mirror", { ...mirror, full: "no" }, "InvalidParameterType", /'full'/],
    [
      "fraction for an integer",
      "__com.redhat_drive-mirror",
      { ...mirror, speed: 0.5 },
      "InvalidParameterType",
      /'speed'/,
    ],
    ["number for a string", "__com.redhat_drive-reopen", { device: 1 }, "InvalidParameterType", /'device'/],
    ["object for a list", "transaction", { actions: {} }, "InvalidParameterType", /'actions'/],
    ["unknown mode", "__com.redhat_drive-mirror", { ...mirror, mode: "reuse" }, "InvalidParameter", /'reuse'/],
    ["unknown format", "__com.redhat_drive-mirror", { ...mirror, format: "vhd" }, "InvalidBlockFormat", /'vhd'/],
    ["unknown device", "__com.redhat_drive-mirror", { ...mirror, device: "hda" }, "DeviceNotFound", /'hda'/],
    ["missing file", "__com.redhat_drive-mirror", mirror, "OpenFileFailed", /\/x.*No such file/],
    [
      "unknown action",
      "transaction",
      { actions: [{ type: "drive-mirror", data: mirror }] },
      "InvalidParameter",
      /drive-/,
    ],
    [
      "action without data",
      "transaction",
      { actions: [{ type: "blockdev-snapshot-sync" }] },
      "MissingParameter",
      /data/,
    ],
    [
      "speed in an action",
      "transaction",
      { actions: [{ type: "__com.redhat_drive-mirror", data: { ...mirror, speed: 1 } }] },
      "InvalidParameter",
      /'speed'/,
    ],
  ];
  for (const [name, command, args, errorClass, words] of cases) {
    it(`refuses: ${name}`, async () => {
      await start();
      const [actual, reason] = await refusal(command, args);
      assert.equal(actual, errorClass);
      assert.match(String(reason), words);
    });
  }

  it("refuses a witness whose descriptor was never passed", async () => {
    await start();
    const args = { device: "d0", "new-image-file": await image("m"), witness: "w" };
    assert.deepEqual(await refusal("__com.redhat_drive-reopen", args), [
      "FdNotFound",
      "File descriptor named 'w' has not been found",
    ]);
  });

  it("refuses a second user of a mirrored device", async () => {
    await start();
    const args = { device: "d0", target: await image("m"), full: false, mode: "existing" };
    await client.execute("__com.redhat_drive-mirror", args);
    assert.equal((await refusal("__com.redhat_drive-mirror", args))[0], "DeviceInUse");
  });
});

describe("transaction", () => {
  it("undoes the first action when the second is refused", async () => {
    await start();
    const first = await image("o0");
    assert.equal(
      (await refusal("transaction", { actions: [snapshot("d0", first), snapshot("d1", join(directory, "none"))] }))[0],
      "OpenFileFailed",
    );
    assert.deepEqual([fake.activeFile("d0"), fake.activeFile("d1")], ["/base/d0", "/base/d1"]);
  });

  it("moves all devices when every action can be done", async () => {
    await start();
    const files = [await image("o0"), await image("o1")] as const;
    await client.execute("transaction", { actions: [snapshot("d0", files[0]), snapshot("d1", files[1])] });
    fake.guestWrite("d1", "a");
    assert.deepEqual([fake.activeFile("d0"), fake.activeFile("d1")], files);
    assert.deepEqual([fake.writesIn("/base/d1"), fake.writesIn(files[1])], [[], ["a"]]);
  });
});

describe("mirrors", () => {
  for (const mirrors of ["job", "driver"] as const) {
    it(`${mirrors}: writes go to both images, and are lost on the mirror when QEMU is killed`, async () => {
      await start({ mirrors });
      const target = await image("m");
      await client.execute("__com.redhat_drive-mirror", { device: "d0", target, full: false, mode: "existing" });
      fake.guestWrite("d0", "a");
      assert.deepEqual([fake.writesIn("/base/d0"), fake.writesIn(target)], [["a"], ["a"]]);
      await fake.kill();
      assert.deepEqual([fake.writesIn("/base/d0"), fake.writesIn(target)], [["a"], []]);
    });
  }

  it("job: copies what is there; driver: does not", async () => {
    for (const [mirrors, expected] of [
      ["job", ["old"]],
      ["driver", []],
    ] as const) {
      await start({ mirrors });
      fake.guestWrite("d0", "old");
      const target = await image(mirrors);
      await client.execute("__com.redhat_drive-mirror", { device: "d0", target, full: false, mode: "existing" });
      assert.deepEqual(fake.writesIn(target), expected);
      if (mirrors === "job") {
        await client.close();
        await fake.close();
      }
    }
  });

  it("a job that is not in sync ends with a refused drive-reopen, on its source", async () => {
    await start();
    const target = await image("m");
    await client.execute("__com.redhat_drive-mirror", { device: "d0", target, full: false, mode: "existing" });
    fake.holdMirror("d0");
    fake.guestWrite("d0", "a");
    assert.equal(
      (await refusal("__com.redhat_drive-reopen", { device: "d0", "new-image-file": target }))[0],
      "DeviceInUse",
    );
    assert.equal(fake.activeFile("d0"), "/base/d0");
    assert.deepEqual(await client.execute("query-block-jobs"), []);
  });
});

describe("faults", () => {
  it("refuse the nth command and no other", async () => {
    await start();
    fake.faults.refuse("query-name", 2, "not today");
    assert.deepEqual(await client.execute("query-name"), { name: "fake" });
    assert.deepEqual(await refusal("query-name"), ["GenericError", "not today"]);
    assert.deepEqual(await client.execute("query-name"), { name: "fake" });
  });

  it("drop the connection before or after a command of a pipeline", async () => {
    for (const [fault, running] of [
      ["dropConnectionBefore", true],
      ["dropConnectionAfter", false],
    ] as const) {
      await start();
      fake.faults[fault]("stop", 1);
      const [before, lost, after] = await Promise.allSettled([
        client.execute("query-name"),
        client.execute("stop"),
        client.execute("query-uuid"),
      ]);
      assert.equal(before.status, "fulfilled");
      for (const result of [lost, after]) {
        assert.ok(result.status === "rejected" && isQmError(result.reason, "QM_QMP_LOST"));
      }
      assert.equal(fake.running, running);
      assert.deepEqual(
        fake.log.map(({ command }) => command),
        ["query-name", "stop"],
      );
      if (running) await fake.close();
    }
  });

  it("hold a command and those behind it until they are released", async () => {
    await start();
    const fault = fake.faults.hang("stop", 1);
    const both = Promise.all([client.execute("stop"), client.execute("query-status")]);
    await fault.reached;
    assert.equal(fake.running, true);
    fault.release();
    assert.deepEqual((await both)[1], { running: false, singlestep: false, status: "paused" });
  });
});

it("emits events, its own and a test's", async () => {
  await start();
  const events = client.subscribe();
  await client.execute("stop");
  fake.emit("BLOCK_IO_ERROR", { device: "d0" });
  assert.equal((await events.next()).event, "STOP");
  assert.deepEqual((await events.next()).data, { device: "d0" });
  events.close();
});

it("greets with its version, refuses commands before negotiation and answers with their ids", async () => {
  await start({ kind: "reopen" });
  const socket = createConnection(fake.socketPath);
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => JSON.parse(String((await lines.next()).value));
  socket.write('{"execute":"stop","id":7}\n{"execute":"qmp_capabilities"}\nnonsense\n');
  assert.deepEqual(await next(), {
    QMP: { version: { qemu: { major: 1, minor: 0, micro: 50 }, package: "" }, capabilities: [] },
  });
  assert.deepEqual(await next(), {
    error: { class: "CommandNotFound", desc: "The command stop has not been found", data: { name: "stop" } },
    id: 7,
  });
  assert.deepEqual(await next(), { return: {} });
  assert.deepEqual(await next(), { error: { class: "JSONParsing", desc: "Invalid JSON syntax", data: {} } });
  socket.destroy();
  assert.equal(fake.running, true);
});

it("ends the connection after quit", async () => {
  await start();
  await client.execute("quit");
  assert.ok(isQmError(await client.closed, "QM_QMP_LOST"));
});
