/** Internal snapshots of a running QEMU: its guest is a machine without a system, paused or running. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test, type TestContext } from "node:test";
import { listInternalSnapshots } from "../../src/image/internal-snapshots.ts";
import type { ImageRef } from "../../src/model/image.ts";
import { deleteInternal, loadInternal, saveInternal, takeInternal } from "../../src/qemu/internal-snapshots.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { failsWith } from "../image/scratch.ts";
import { QemuRig } from "./qemu-rig.ts";

const jobId = "qm-1-internal";
const nodes = ["va", "vb"] as const;
const vmstateNode = "va";

interface Started {
  readonly monitor: Monitor;
  readonly write: (node: string, pattern: number) => Promise<void>;
  /** Tags by image, as they are on disk. */
  readonly tags: () => Promise<string[][]>;
  /** Ends QEMU, then compares what an image shows. */
  readonly endsWith: (patterns: Readonly<Record<string, number>>) => Promise<void>;
}

async function start(t: TestContext, faults: object = {}): Promise<Started> {
  const rig = new QemuRig();
  t.after(() => rig.close());
  const disks = nodes.flatMap((node) => {
    const file = { driver: "file", filename: rig.createImage(node) };
    const below = node === "vb" && "inject-error" in faults ? { driver: "blkdebug", image: file, ...faults } : file;
    const options = { driver: "qcow2", "node-name": node, file: below };
    return ["-blockdev", JSON.stringify(options), "-device", `virtio-blk-pci,drive=${node},id=${node}`];
  });
  const monitor = await rig.startForeign(disks);
  const qemuIo = async (node: string, command: string) => {
    const line = `qemu-io -d /machine/peripheral/${node}/virtio-backend "${command}"`;
    assert.equal(await monitor.execute("human-monitor-command", { "command-line": line }), "");
  };
  return {
    monitor,
    write: async (node, pattern) => {
      await qemuIo(node, `write -P ${pattern} 0 64k`);
      await qemuIo(node, "flush");
    },
    tags: async () =>
      await Promise.all(
        nodes.map(async (node) => {
          const image: ImageRef = { type: "file", path: rig.path(node), format: "qcow2" };
          return (await listInternalSnapshots(image, { disk: node })).map(({ name }) => name);
        }),
      ),
    endsWith: async (patterns) => {
      await monitor.execute("quit");
      await monitor.closed;
      for (const [node, pattern] of Object.entries(patterns)) {
        const said = execFileSync("qemu-io", ["-f", "qcow2", "-c", `read -P ${pattern} 0 64k`, rig.path(node)]);
        assert.doesNotMatch(String(said), /failed/, node);
      }
    },
  };
}

async function isRunning(monitor: Monitor): Promise<boolean> {
  return (await monitor.execute("query-status")).running;
}

test("disks and memory are saved while the guest runs, loaded, and deleted; each may be repeated", async (t) => {
  const { monitor, write, tags, endsWith } = await start(t);
  await monitor.execute("cont");
  await write("va", 1);
  await write("vb", 2);
  const options = { jobId, tag: "s", nodes, vmstateNode };
  for (let round = 0; round < 2; round++) await saveInternal(monitor, options);
  assert.ok(await isRunning(monitor), "the guest runs on");
  assert.deepEqual(await tags(), [["s"], ["s"]]);

  await write("va", 3);
  await write("vb", 3);
  for (let round = 0; round < 2; round++) {
    await loadInternal(monitor, options);
    assert.equal(await isRunning(monitor), false, "the guest stands still until the caller lets it run");
  }
  await monitor.execute("cont");
  for (let round = 0; round < 2; round++) await deleteInternal(monitor, { jobId, tag: "s", nodes });
  assert.deepEqual(await tags(), [[], []]);
  assert.deepEqual(await monitor.execute("query-jobs"), []);
  await endsWith({ va: 1, vb: 2 });
});

test("a job that ended while no manager looked is adopted; a load is not done twice", async (t) => {
  const { monitor, write, endsWith } = await start(t);
  await write("va", 1);
  const options = { jobId, tag: "s", nodes, vmstateNode };
  await monitor.execute("snapshot-save", { "job-id": jobId, tag: "s", vmstate: vmstateNode, devices: nodes });
  await saveInternal(monitor, options);
  assert.deepEqual(await monitor.execute("query-jobs"), []);
  await write("va", 2);
  await monitor.execute("snapshot-load", { "job-id": jobId, tag: "s", vmstate: vmstateNode, devices: nodes });
  await write("va", 3);
  await loadInternal(monitor, options);
  assert.deepEqual(await monitor.execute("query-jobs"), []);
  await endsWith({ va: 3 });
});

test("loading what is not there, or has no memory, is refused before the guest is stopped", async (t) => {
  const { monitor } = await start(t);
  await monitor.execute("cont");
  const options = { jobId, tag: "s", nodes, vmstateNode };
  await assert.rejects(loadInternal(monitor, options), failsWith("QM_SNAPSHOT_TREE", /node 'va' has no internal/));
  await takeInternal(monitor, nodes, "s");
  await assert.rejects(loadInternal(monitor, options), failsWith("QM_SNAPSHOT_TREE", /'va' holds no memory/));
  assert.ok(await isRunning(monitor));
});

test("disks alone: all of them or none, and the guest goes on", async (t) => {
  const { monitor, tags } = await start(t);
  await monitor.execute("cont");
  for (let round = 0; round < 2; round++) await takeInternal(monitor, nodes, "s");
  assert.deepEqual(await tags(), [["s"], ["s"]]);
  await monitor.execute("blockdev-snapshot-internal-sync", { device: "vb", name: "t" });
  await assert.rejects(takeInternal(monitor, nodes, "t"), failsWith("QM_QMP_COMMAND", /'t' already exists/));
  assert.deepEqual(await tags(), [["s"], ["s", "t"]], "none was left in the first disk");
  await deleteInternal(monitor, { jobId, tag: "t", nodes });
  assert.deepEqual(await tags(), [["s"], ["s"]]);
  assert.ok(await isRunning(monitor));
});

test("a save that fails says why in QEMU's words, leaves no snapshot, and the guest runs on", async (t) => {
  // The second disk's snapshot needs a cluster.
  const fault = { event: "cluster_alloc", errno: 28, once: false };
  const { monitor, tags } = await start(t, { "inject-error": [fault] });
  await monitor.execute("cont");
  const saved = saveInternal(monitor, { jobId, tag: "s", nodes, vmstateNode });
  await assert.rejects(saved, failsWith("QM_JOB_FAILED", /saving the internal snapshot 's' failed: .*'vb'/));
  assert.ok(await isRunning(monitor));
  assert.deepEqual(await monitor.execute("query-jobs"), []);
  assert.deepEqual(await tags(), [[], []]);
});

test("a save that was cancelled before it began does nothing", async (t) => {
  const { monitor, tags } = await start(t);
  const signal = AbortSignal.abort();
  await assert.rejects(
    saveInternal(monitor, { jobId, tag: "s", nodes, vmstateNode, signal }),
    failsWith("QM_CANCELLED"),
  );
  assert.deepEqual(await tags(), [[], []]);
});
