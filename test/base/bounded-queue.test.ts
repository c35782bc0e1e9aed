import assert from "node:assert/strict";
import test from "node:test";
import { BoundedQueue } from "../../src/base/bounded-queue.ts";
import { isQmError } from "../../src/base/errors.ts";

test("values come out in order, to takers in order, and no more than the limit wait", async () => {
  const queue = new BoundedQueue<number>(2);
  const takers = [queue.take("a"), queue.take("b")];
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((value) => queue.push(value)),
    [true, true, true, true, false],
  );
  assert.deepEqual(await Promise.all([...takers, queue.take("c"), queue.take("d")]), [1, 2, 3, 4]);
});

test("an ended queue is emptied first, then gives its error", async () => {
  const queue = new BoundedQueue<number>(2);
  queue.push(1);
  queue.end(new Error("over"));
  queue.end(new Error("again"));
  assert.equal(queue.push(2), false);
  assert.equal(await queue.take("a"), 1);
  await assert.rejects(queue.take("a"), /over/);
});

test("a value pushed right after an abort goes to the next taker", async () => {
  const queue = new BoundedQueue<number>(2);
  const abort = new AbortController();
  const aborted = assert.rejects(queue.take("a", abort.signal), (error) => isQmError(error, "QM_CANCELLED"));
  const next = queue.take("b");
  abort.abort();
  queue.push(1);
  await aborted;
  assert.equal(await next, 1);
  await assert.rejects(queue.take("a", abort.signal), (error) => isQmError(error, "QM_CANCELLED"));
});
