/** Waiting for the end of QEMU's migration, out of it or into it, on its events (the capability `events` has to be set). */
import { QmError } from "../base/errors.ts";
import type { Monitor } from "./monitor.ts";

export type MigrationEnd = "completed" | "failed" | "cancelled";

export interface MigrationWatch {
  /** Rejects with `QM_QMP_LOST` when the connection ends first. */
  readonly ended: Promise<MigrationEnd>;
  close(): void;
}

/** Listens from the moment of the call. */
export function watchMigration(monitor: Monitor): MigrationWatch {
  const { promise, resolve, reject } = Promise.withResolvers<MigrationEnd>();
  promise.catch(() => undefined); // whoever waits for it hears of it
  const close = monitor.onEvent((event) => {
    if (event.event !== "MIGRATION") return;
    const { status } = event.data;
    if (status === "completed" || status === "failed" || status === "cancelled") resolve(status);
  });
  void monitor.closed.then((error) => reject(error ?? new QmError("QM_QMP_LOST", { command: "migrate" })));
  return { ended: promise, close };
}
