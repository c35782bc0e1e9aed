import assert from "node:assert/strict";
import { test } from "node:test";
import type { Figures } from "../../bench/measure.ts";
import { judge, judgeSnapshots, summarize, type Samples } from "../../bench/report.ts";

const figures = (createMs: number, pivotMs: number, stallMs: number): Figures => ({
  createMs,
  pivotMs,
  stallMs,
  steadyMs: 1,
});
const samples: Samples = new Map([
  ["ours", [figures(100, 30, 20), figures(120, 10, 22), figures(900, 20, 21)]],
  ["floor", [figures(100, 20, 10), figures(100, 20, 10), figures(100, 20, 10)]],
  ["libvirt", [figures(400, 100, 10), figures(400, 100, 10), figures(400, 100, 10)]],
]);

test("a row holds medians and their ratios; no stall where the guest does not write", () => {
  const { create, pivot, stall } = summarize(4, "writes", samples);
  assert.deepEqual(create, { ours: 120, floor: 100, libvirt: 400, ratioFloor: 1.2, ratioLibvirt: 0.3 });
  assert.equal(pivot.ours, 20);
  assert.equal(stall?.ours, 21);
  assert.equal(summarize(4, "idle", samples).stall, null);
});

test("targets compare with their limits, and those that were not measured are not there", () => {
  const mibPerS = { ours: 90, "qemu-img convert": 100, "cp --sparse=always": 80 };
  const targets = judge([summarize(4, "writes", samples)], [{ files: 1, cached: true, mibPerS }]);
  assert.deepEqual(
    targets.map(({ value, met }) => [value, met]),
    [
      [1.2, true],
      [0.3, false],
      [1, true],
      [0.2, true],
      [11, false],
      [0.9, false],
    ],
  );
  const alone = new Map([...samples].filter(([name]) => name !== "libvirt"));
  assert.equal(judge([summarize(16, "idle", alone)], []).length, 2);
  assert.equal(judge([summarize(1, "idle", alone)], []).length, 0);
});

test("snapshots are judged by time, memory and the data that a deletion moves", () => {
  const figures = { listed: 10_000, listMs: 120, daemonMib: 201, parseMs: 0.4, formatMs: 1.2 };
  const deletions = [
    { baseMib: 64, overlayMib: 8, movedMib: 8.1 },
    { baseMib: 8, overlayMib: 64, movedMib: 64 },
  ];
  assert.deepEqual(
    judgeSnapshots({ ...figures, deletions }).map(({ value, met }) => [value, met]),
    [
      [120, true],
      [201, false],
      [0.4, true],
      [1.2, false],
      [1.01, true],
      [8, false],
    ],
  );
});
