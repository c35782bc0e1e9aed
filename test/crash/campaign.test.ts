/** A short slice of the crash campaign; `npm run crash` is the whole. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runCampaign } from "../../crash/campaign.ts";
import { operationNames } from "../../crash/operations.ts";
import { deriveScenario } from "../../crash/scenario.ts";

test("a slice of the campaign finds nothing lost, split, damaged or left over", async () => {
  const report = await runCampaign({ seed: 4, first: 0, runs: 15, jobs: 2 }, AbortSignal.timeout(120_000));
  assert.equal(report.runs, 15);
  assert.ok(report.acknowledged > 0);
  assert.deepEqual(
    report.failed.map(({ replay, failures, answer }) => ({ replay, failures, answer })),
    [],
  );
});

test("a run follows from the seed and its number alone", () => {
  const scenarioOf = (seed: number, run: number): unknown => {
    const { choice, ...rest } = deriveScenario(seed, run);
    return { ...rest, choices: [choice.below(1000), choice.fraction()] };
  };
  assert.deepEqual(scenarioOf(7, 31), scenarioOf(7, 31));
  assert.notDeepEqual(scenarioOf(7, 31), scenarioOf(8, 31));
  const drawn = new Set(Array.from({ length: 300 }, (_, run) => deriveScenario(1, run).operation));
  assert.deepEqual([...drawn].toSorted(), [...operationNames].toSorted());
});
