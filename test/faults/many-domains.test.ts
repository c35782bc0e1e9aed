import assert from "node:assert/strict";
import { test } from "node:test";
import { assertReturned, migrateMany } from "./many-domains.ts";

test("12 domains migrate at once, faults strike some: no other notices, and the daemon keeps nothing of it", async () => {
  const figures = await migrateMany({ domains: 12, seed: 7 });
  assert.equal(figures.ends["left alone"]?.["succeeded"], 5);
  assertReturned(figures);
});
