import assert from "node:assert/strict";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { watchJobs } from "../../src/qemu/block-jobs.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";

type Handler = Parameters<Monitor["onEvent"]>[0];

/** A monitor whose answers and events come exactly when the test says so. */
function scriptedMonitor() {
  const handlers = new Set<Handler>();
  const answers: PromiseWithResolvers<unknown>[] = [];
  const closed = Promise.withResolvers<Error | undefined>();
  const monitor = {
    state: "running",
    closed: closed.promise,
    onEvent(handler: Handler) {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
    execute() {
      const answer = Promise.withResolvers<unknown>();
      answers.push(answer);
      return answer.promise;
    },
  } as unknown as Monitor;
  const emit = (id: string, status: "running" | "ready" | "concluded"): void => {
    for (const handler of handlers) handler({ event: "JOB_STATUS_CHANGE", data: { id, status }, timestampMs: 0 });
  };
  const answer = (jobs: readonly object[]): void => answers.shift()?.resolve(jobs);
  return { monitor, emit, answer, closed, handlers };
}

const jobs = [{ id: "m", disk: "vda" }];

test("an event that arrives together with an older answer is not overwritten by it", async () => {
  const { monitor, emit, answer } = scriptedMonitor();
  const watch = watchJobs(monitor, jobs);
  const refreshed = watch.refresh();
  answer([{ id: "m", status: "running" }]);
  emit("m", "ready");
  await refreshed;
  assert.equal(watch.states.get("m"), "ready");
  await watch.until(["ready"], { what: "mirror" });
});

test("a job that ends instead is reported in QEMU's words, with its disk", async () => {
  const { monitor, emit, answer } = scriptedMonitor();
  const watch = watchJobs(monitor, jobs);
  emit("m", "running");
  const waiting = watch.until(["ready"], { what: "mirror" });
  emit("m", "concluded");
  await Promise.resolve();
  answer([{ id: "m", status: "concluded", error: "No space left on device" }]);
  await assert.rejects(
    waiting,
    (error: unknown) =>
      isQmError(error, "QM_JOB_FAILED") && error.message === "disk 'vda': mirror failed: No space left on device",
  );
});

test("waiting ends with the connection, the time and the signal", async () => {
  const { monitor, emit, closed, handlers } = scriptedMonitor();
  const watch = watchJobs(monitor, jobs);
  emit("m", "running");
  await assert.rejects(watch.until(["ready"], { what: "mirror", timeoutMs: 5 }), /did not finish within 5 ms/);
  await assert.rejects(watch.until(["ready"], { what: "mirror", signal: AbortSignal.abort() }), (error: unknown) =>
    isQmError(error, "QM_CANCELLED"),
  );
  const waiting = watch.until(["ready"], { what: "mirror" });
  closed.resolve(undefined);
  await assert.rejects(waiting, (error: unknown) => isQmError(error, "QM_QMP_LOST"));
  watch.close();
  assert.equal(handlers.size, 0);
});
