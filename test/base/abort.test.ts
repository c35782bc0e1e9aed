import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import test from "node:test";
import { throwIfAborted, withLimits } from "../../src/base/abort.ts";
import { isQmError } from "../../src/base/errors.ts";

test("the first of work, abort and deadline decides, and leaves no listener behind", async () => {
  const abort = new AbortController();
  const limits = { signal: abort.signal, timeoutMs: 10_000 };
  const never = new Promise<never>(() => undefined);
  assert.equal(await withLimits("a", Promise.resolve(1), limits), 1);
  await assert.rejects(withLimits("a", Promise.reject(new Error("work")), limits), /work/);
  assert.equal(getEventListeners(abort.signal, "abort").length, 0);

  await assert.rejects(withLimits("a", never, { timeoutMs: 1 }), (error) => isQmError(error, "QM_TIMEOUT"));
  const cancelled = assert.rejects(withLimits("a", never, limits), (error) => isQmError(error, "QM_CANCELLED"));
  throwIfAborted(abort.signal, "a");
  abort.abort(new Error("why"));
  await cancelled;
  assert.throws(
    () => throwIfAborted(abort.signal, "a"),
    (error) => isQmError(error, "QM_CANCELLED") && error.cause === abort.signal.reason,
  );
});
