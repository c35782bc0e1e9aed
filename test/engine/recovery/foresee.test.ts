/** What people are told that recovery will do is what it does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { planMove } from "../../../src/engine/plans/plan-move.ts";
import { foreseeDead } from "../../../src/engine/recovery/foresee.ts";
import { reconcileDead } from "../../../src/engine/recovery/reconcile.ts";
import { facts } from "../../../src/engine/steps/step.ts";
import type { StepName, StoragePlan } from "../../../src/engine/steps/storage-plan.ts";

function makePlan(kind: "migrate" | "clone" | "abort" | "pivot"): StoragePlan {
  const plan = planMove({
    id: "0123456789ab",
    kind: kind === "clone" ? "clone" : "migrate",
    domain: { uuid: "u", name: "d" },
    dialect: "blockdev",
    snapshot: { name: "s", creationTime: 0 },
    disks: [],
    directory: "/",
    flatten: false,
    verify: false,
    bytesPerS: 0,
    keepSource: false,
    prepareTimeoutMs: 0,
  });
  if (kind === "abort") return { ...plan, steps: ["stop-mirrors", "remove-mirrors"] };
  return kind === "pivot" ? { ...plan, steps: ["prepare-pivot", "decide-pivot", "finish-pivot"] } : plan;
}

for (const kind of ["migrate", "clone", "abort", "pivot"] as const) {
  test(`with QEMU dead, the forecast for a ${kind} is its outcome, whatever was recorded`, async () => {
    const plan = makePlan(kind);
    let compared = 0;
    for (const step of plan.steps) {
      for (const fact of [undefined, ...facts]) {
        for (const left of [false, true]) {
          for (const cloned of [false, true]) {
            const view = { step: step as StepName, ...(fact === undefined ? {} : { fact }) };
            const outcome = await reconcileDead(
              plan,
              {
                establish: () => undefined,
                record: () => undefined,
                has: (name, data) => (name === "left" && left) || (name === "fact" && data === "clone" && cloned),
              },
              view,
            );
            const forecast = foreseeDead(plan, view, { undoing: false, left, cloned });
            assert.equal(forecast.succeeds, outcome, `${JSON.stringify(view)} left ${left} cloned ${cloned}`);
            compared += 1;
          }
        }
      }
    }
    assert.ok(compared >= 64);
  });
}
