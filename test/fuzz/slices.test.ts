/** A slice of every fuzzer, and all inputs that ever broke something. Long runs: `tools/fuzz.ts`. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { runFuzz } from "./fuzz-target.ts";
import { fuzzTargets } from "./targets.ts";

const kept = new URL("../fixtures/fuzz/", import.meta.url);
const slices: Readonly<Record<string, number>> = { xml: 2500, qmp: 3000, http: 2500 };
// Another slice every day, and the same one for all runs of a day.
const seed = Math.floor(Date.now() / 86_400_000);

for (const [name, open] of Object.entries(fuzzTargets)) {
  test(`${name}: what once broke it does no more, and random inputs (seed ${seed}) do not`, async (t) => {
    const target = await open();
    t.after(() => target.close?.());
    for (const file of readdirSync(kept).filter((one) => one.startsWith(`${name}-`))) {
      const input: unknown = JSON.parse(readFileSync(new URL(file, kept), "utf8"));
      await assert.doesNotReject(async () => target.check(input), file);
    }
    const fault = await runFuzz(target, slices[name] ?? 1000, seed);
    if (fault !== undefined) assert.fail(`${JSON.stringify(fault.input)}: ${fault.report}`);
  });
}
