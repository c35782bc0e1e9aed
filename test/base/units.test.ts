import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { isQmError } from "../../src/base/errors.ts";
import { formatBytes, formatDuration, formatRate, parseBytes } from "../../src/base/units.ts";

test("parseBytes reads plain bytes, binary and decimal units in any case", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["4096", 4096],
    ["512 B", 512],
    ["1 byte", 1],
    ["200M", 209715200],
    ["200m", 209715200],
    ["1GiB", 1073741824],
    ["2gb", 2000000000],
    ["1.5K", 1536],
    [" 3 TiB ", 3298534883328],
    ["7P", 7 * 2 ** 50],
  ];
  for (const [text, sizeBytes] of cases) assert.equal(parseBytes(text), sizeBytes, text);
});

test("parseBytes refuses everything else", () => {
  for (const text of [
    "",
    "M",
    "-1",
    "+1",
    "1e3",
    "0x10",
    "1,5G",
    "1 X",
    "1MM",
    "1.G",
    "9P",
    "9999999999999999",
    "NaN",
  ]) {
    assert.throws(
      () => parseBytes(text),
      (error) => isQmError(error, "QM_INVALID"),
      text,
    );
  }
});

test("formatBytes stays within half of its last digit of the value", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 50 }), (sizeBytes) => {
      const text = formatBytes(sizeBytes);
      const unitBytes = parseBytes(`1 ${text.split(" ")[1]}`);
      assert.ok(Math.abs(parseBytes(text) - sizeBytes) <= 0.05 * unitBytes + 1, text);
      assert.ok(Number.parseFloat(text) < 1024, text);
    }),
  );
});

test("sizes, rates and durations read well", () => {
  assert.equal(formatBytes(0), "0 B");
  assert.equal(formatBytes(1024 ** 2 - 1), "1 MiB");
  assert.equal(formatBytes(1.5 * 1024 ** 3), "1.5 GiB");
  assert.equal(formatRate(12.34 * 1024 ** 2), "12.3 MiB/s");
  const durations: [number, string][] = [
    [0, "0 ms"],
    [999.4, "999 ms"],
    [999.6, "1 s"],
    [3400, "3.4 s"],
    [59_960, "1 min 00 s"],
    [125_000, "2 min 05 s"],
    [3_599_600, "1 h 00 min"],
    [3_720_000, "1 h 02 min"],
    [86_399_000, "1 d 00 h"],
    [273_600_000, "3 d 04 h"],
  ];
  for (const [durationMs, text] of durations) assert.equal(formatDuration(durationMs), text, String(durationMs));
});
