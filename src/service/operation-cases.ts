/** The use cases of operations and events. */
import { throwIfAborted, withLimits } from "../base/abort.ts";
import { QmError } from "../base/errors.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import type { OperationCases } from "./facade.ts";

export function createOperationCases({ registry, operations, events }: LifecycleDeps): OperationCases {
  const viewOf = async (id: string) => await Promise.resolve(operations.view(id));
  return {
    async listOperations({ domain, ...rest }) {
      return await Promise.resolve(
        operations.list(domain === undefined ? rest : { ...rest, domain: registry.get(domain).uuid }),
      );
    },

    getOperation: viewOf,

    async waitOperation(id, signal) {
      const running = operations.find(id);
      if (running === undefined) return await viewOf(id);
      return await withLimits("waiting for the operation", running.done, { signal });
    },

    async cancelOperation(id) {
      const running = operations.find(id);
      if (running === undefined) return await viewOf(id);
      running.cancel();
      return await running.done;
    },

    async setSpeed(id, bytesPerS) {
      const view = await viewOf(id);
      const running = operations.find(id);
      if (running === undefined) {
        throw new QmError("QM_INVALID", { reason: `operation ${id} has ended: it ${view.state}` });
      }
      running.bytesPerS = bytesPerS;
      return running.view();
    },

    watchEvents(filter, signal) {
      const name = filter.domain === undefined ? undefined : (registry.find(filter.domain)?.name ?? filter.domain);
      return events.watch({ ...filter, ...(name === undefined ? {} : { domain: name }) }, signal);
    },

    async *watchOperation(id, signal) {
      const running = operations.find(id);
      if (running === undefined) {
        yield await viewOf(id);
        return;
      }
      for (;;) {
        const changed = Promise.withResolvers<undefined>();
        const stop = running.watch(() => changed.resolve(undefined));
        try {
          const view = running.view();
          yield view;
          if (view.state !== "running") return;
          if (running.final === undefined) await withLimits("watching the operation", changed.promise, { signal });
          throwIfAborted(signal, "watching the operation");
        } finally {
          stop();
        }
      }
    },
  };
}
