/** Layers of a chain that a real QEMU has open are merged, interrupted at every point, and merged again. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import {
  closeMergedLayers,
  commitActive,
  commitNodes,
  pullNodes,
  setLayerJobSpeed,
} from "../../src/qemu/layer-jobs.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { failsWith } from "../image/scratch.ts";
import { LayerRig, type LayerSpec } from "./layer-rig.ts";

const usual: readonly LayerSpec[] = [
  { name: "d" },
  { name: "c", data: [[3, "2560k", "2M"]] },
  { name: "b", data: [[2, "1M", "2M"]] },
  { name: "a", data: [[1, "0", "4M"]] },
];

const disk = "vda";
const jobId = "qm-1-merge-vda";
const qdev = "/machine/peripheral/vda/virtio-backend";
/** Slow enough for a test to act while the job runs. */
const bytesPerS = 64 * 1024;

async function startChain(t: TestContext, layers = usual): Promise<{ layers: LayerRig; monitor: Monitor }> {
  const rig = new LayerRig(layers);
  t.after(() => rig.close());
  await rig.start();
  await rig.write(4, 512);
  return { layers: rig, monitor: await connectFor(t, rig) };
}

async function connectFor(t: TestContext, rig: LayerRig): Promise<Monitor> {
  const monitor = await rig.connect();
  t.after(() => monitor.close());
  return monitor;
}

test("a layer in the middle is merged down: graph, header, contents; its file is closed; a repeat changes nothing", async (t) => {
  const { layers, monitor } = await startChain(t);
  const options = { disk, jobId, rootNode: "n-d", top: layers.node("c"), base: layers.node("b") };
  await commitNodes(monitor, options);
  assert.equal(await layers.backingOf("d"), "qcow2 b");
  await commitNodes(monitor, options);
  await layers.write(5, 4096);
  await layers.assertEndsAs(["d", "b", "a"]);
});

test("two layers are merged at once into a raw base that is smaller, and grows", async (t) => {
  const { layers, monitor } = await startChain(t, [
    ...usual.slice(0, 3),
    { name: "a", format: "raw", size: "2M", data: [[1, "0", "2M"]] },
  ]);
  await commitNodes(monitor, { disk, jobId, rootNode: "n-d", top: layers.node("c"), base: layers.node("a") });
  assert.equal(await layers.backingOf("d"), "raw a");
  // The layer between is not named here, but nothing uses it.
  await closeMergedLayers(monitor, { disk, jobId, images: [layers.node("b").image] });
  await layers.assertEndsAs(["d", "a"]);
});

test("nothing is merged across a layer that ends before its base: what the base has behind that end would come to light", async (t) => {
  const { layers, monitor } = await startChain(t, [
    { name: "d", data: [[5, "6M", "64k"]] },
    { name: "c", size: "4M", data: [[3, "1M", "1M"]] },
    { name: "b", data: [[2, "0", "8M"]] },
  ]);
  const [top, base] = [layers.node("c"), layers.node("b")];
  const tooSmall = failsWith("QM_UNSUPPORTED", /b has 8388608 bytes, .*c 4194304$/);
  await assert.rejects(commitNodes(monitor, { disk, jobId, rootNode: "n-d", top, base }), tooSmall);
  const pulled = { disk, jobId, top: layers.node("d"), between: [top] };
  await assert.rejects(pullNodes(monitor, { ...pulled, newBacking: base }), tooSmall);
  // All of it can be pulled.
  await pullNodes(monitor, { ...pulled, between: [top, base] });
  await layers.assertEndsAs(["d"]);
});

test("the active layer is merged down after the decision, and a repeat changes nothing", async (t) => {
  const { layers, monitor } = await startChain(t, [{ name: "d" }, { name: "c", size: "4M" }, ...usual.slice(2)]);
  let decisions = 0;
  const options = { disk, jobId, qdev, top: layers.node("d"), base: layers.node("c"), decide: () => void decisions++ };
  const progress: number[] = [];
  await commitActive(monitor, { ...options, onProgress: (done) => progress.push(done) });
  await layers.write(5, 6144);
  await commitActive(monitor, options);
  assert.equal(decisions, 1);
  await layers.assertEndsAs(["c", "b", "a"]);
});

test("when deciding fails the guest goes on on the active layer", async (t) => {
  const { layers, monitor } = await startChain(t);
  const decide = () => assert.fail("no space for the record");
  const merged = commitActive(monitor, { disk, jobId, qdev, top: layers.node("d"), base: layers.node("c"), decide });
  await assert.rejects(merged, /no space for the record/);
  await layers.write(5, 0);
  await layers.assertEndsAs(["d", "c", "b", "a"]);
});

test("the manager dies between decision and end: the next one finishes, and is not to be stopped", async (t) => {
  const { layers, monitor } = await startChain(t);
  const decided: string[] = [];
  const options = { disk, jobId, qdev, top: layers.node("d"), base: layers.node("c") };
  const first = commitActive(monitor, {
    ...options,
    decide: () => {
      decided.push("first");
      void monitor.close();
    },
  });
  await assert.rejects(first);
  assert.deepEqual(
    (await layers.eye.execute("query-jobs")).map(({ status }) => status),
    ["pending"],
  );
  await commitActive(await connectFor(t, layers), {
    ...options,
    decide: () => void decided.push("second"),
    decided: true,
    signal: AbortSignal.abort(),
  });
  assert.deepEqual(decided, ["first", "second"]);
  await layers.assertEndsAs(["c", "b", "a"]);
});

for (const { into, top, newBacking, between, chain, header } of [
  { into: "the middle", top: "c", newBacking: "a", between: ["b"], chain: ["d", "c", "a"], header: "qcow2 a" },
  { into: "the active layer", top: "d", newBacking: "b", between: ["c"], chain: ["d", "b", "a"], header: "qcow2 b" },
  { into: "a layer that then stands alone", top: "d", between: ["c", "b", "a"], chain: ["d"], header: undefined },
]) {
  test(`layers are pulled into ${into}, and a repeat changes nothing`, async (t) => {
    const { layers, monitor } = await startChain(t);
    const options = {
      ...{ disk, jobId, top: layers.node(top), between: between.map((name) => layers.node(name)) },
      ...(newBacking === undefined ? {} : { newBacking: layers.node(newBacking) }),
    };
    await pullNodes(monitor, options);
    assert.equal(await layers.backingOf(top), header);
    await layers.write(5, 2048);
    await pullNodes(monitor, options);
    await layers.assertEndsAs(chain);
  });
}

const merges = [
  {
    name: "commit in the middle",
    merge: (monitor: Monitor, layers: LayerRig, more: { signal?: AbortSignal; bytesPerS?: number } = {}) =>
      commitNodes(monitor, { disk, jobId, rootNode: "n-d", top: layers.node("c"), base: layers.node("b"), ...more }),
    chain: ["d", "b", "a"] as const,
    merged: "c",
  },
  {
    name: "commit of the active layer",
    merge: (monitor: Monitor, layers: LayerRig, more: { signal?: AbortSignal; bytesPerS?: number } = {}) =>
      commitActive(monitor, {
        ...{ disk, jobId, qdev, top: layers.node("d"), base: layers.node("c"), decide: () => undefined, ...more },
      }),
    chain: ["c", "b", "a"] as const,
    merged: "d",
  },
  {
    name: "pull",
    merge: (monitor: Monitor, layers: LayerRig, more: { signal?: AbortSignal; bytesPerS?: number } = {}) =>
      pullNodes(monitor, {
        ...{ disk, jobId, top: layers.node("d"), newBacking: layers.node("b"), between: [layers.node("c")], ...more },
      }),
    chain: ["d", "b", "a"] as const,
    merged: "c",
  },
];
const withData = [{ name: "d", data: [[5, "4M", "2M"]] } as const, ...usual.slice(1)];

for (const { name, merge, chain, merged } of merges) {
  test(`${name}: cancelled in the middle, the chain is as it was, and can be merged then`, async (t) => {
    const { layers, monitor } = await startChain(t, withData);
    const cancel = new AbortController();
    const running = layers.jobIs("running");
    const cancelled = merge(monitor, layers, { bytesPerS, signal: cancel.signal });
    await running;
    assert.deepEqual(await layers.chain(), ["d", "c", "b", "a"], "the job's filter is looked through");
    cancel.abort();
    await assert.rejects(cancelled, failsWith("QM_CANCELLED"));
    assert.deepEqual(await layers.eye.execute("query-jobs"), []);
    assert.deepEqual(await layers.chain(), ["d", "c", "b", "a"]);
    await layers.write(6, 5120);
    await merge(monitor, layers);
    await layers.assertEndsAs(chain);
  });

  test(`${name}: a manager that comes anew adopts the job that runs`, async (t) => {
    const { layers, monitor } = await startChain(t, withData);
    const running = layers.jobIs("running");
    const lost = merge(monitor, layers, { bytesPerS });
    await running;
    await Promise.all([monitor.close(), assert.rejects(lost)]);
    const second = await connectFor(t, layers);
    const [job] = await second.execute("query-jobs");
    assert.equal(job?.id, jobId);
    const merging = merge(second, layers, { bytesPerS });
    await layers.write(6, 5120);
    await setLayerJobSpeed(second, jobId, 0);
    await merging;
    await layers.assertEndsAs(chain);
  });

  test(`${name}: QEMU killed in the middle, the chain holds all`, async (t) => {
    const { layers, monitor } = await startChain(t, withData);
    const running = layers.jobIs("running");
    const lost = merge(monitor, layers, { bytesPerS });
    await running;
    await layers.write(6, 5120);
    await Promise.all([layers.assertHolds("d"), assert.rejects(lost, (error) => isQmError(error))]);
  });

  test(`${name}: QEMU killed right afterwards, before anybody flushes: nothing is lost`, async (t) => {
    const { layers, monitor } = await startChain(t, withData);
    await merge(monitor, layers);
    await layers.assertHolds(chain[0]);
  });

  test(`${name}: the manager dies after QEMU has changed the chain, the next one closes what is left`, async (t) => {
    const { layers, monitor } = await startChain(t, withData);
    const [running, pending, concluded] = [layers.jobIs("running"), layers.jobIs("pending"), layers.jobIs("concluded")];
    const lost = merge(monitor, layers, { bytesPerS });
    await running;
    await Promise.all([monitor.close(), assert.rejects(lost)]);
    const ready = merged === "d" ? layers.jobIs("ready") : undefined;
    await setLayerJobSpeed(layers.eye, jobId, 0);
    await ready?.then(() => layers.eye.execute("job-complete", { id: jobId }));
    await pending;
    await layers.eye.execute("job-finalize", { id: jobId });
    await concluded;
    await closeMergedLayers(await connectFor(t, layers), { disk, jobId, images: [layers.node(merged).image] });
    await layers.write(6, 5120);
    await layers.assertEndsAs(chain);
  });
}

test("no space in the base: QEMU's words, and the chain as it was", async (t) => {
  const faulty = { name: "b", data: [[2, "1M", "2M"]], failWritesErrno: 28 } as const;
  const { layers, monitor } = await startChain(t, [
    { name: "d", data: [[5, "4M", "2M"]] },
    { name: "c", data: [[3, "2560k", "2M"]] },
    faulty,
    { name: "a", data: [[1, "4M", "1M"]] },
  ]);
  const before = await layers.openNodes();
  const top = layers.node("c");
  const base = layers.node("b");
  const middle = commitNodes(monitor, { disk, jobId, rootNode: "n-d", top, base });
  await assert.rejects(middle, failsWith("QM_JOB_FAILED", /vda.*No space left on device/));
  const decide = () => assert.fail("there is nothing to decide");
  const active = commitActive(monitor, { disk, jobId, qdev, top: layers.node("d"), base, decide });
  await assert.rejects(active, failsWith("QM_JOB_FAILED", /No space left on device/));
  const pulled = pullNodes(monitor, { disk, jobId, top: base, between: [layers.node("a")] });
  await assert.rejects(pulled, failsWith("QM_JOB_FAILED", /No space left on device/));
  assert.deepEqual(await layers.eye.execute("query-jobs"), []);
  assert.deepEqual(await layers.openNodes(), before);
  assert.equal(await layers.backingOf("d"), "qcow2 c");
  assert.equal(await layers.backingOf("b"), "qcow2 a");
  await layers.write(6, 5120);
  await layers.assertHolds("d");
});
