/** A monitor connection that knows QEMU's vocabulary. */
import type { QmpClient } from "../qmp/client-types.ts";
import { connectQmp } from "../qmp/index.ts";
import { followCommands } from "./commands-in-flight.ts";
import type { QapiCommands, QapiEvents } from "./qapi.gen.ts";

export type Monitor = QmpClient<QapiCommands, QapiEvents>;

/** Whether commands can be sent. A connection that was lost fails what is in flight before it counts as closed. */
export function isConnected(monitor: Monitor): boolean {
  return monitor.state === "running";
}

export interface ConnectMonitorOptions {
  readonly signal?: AbortSignal;
  readonly connectTimeoutMs?: number;
}

/** Connects to the QMP socket at `path` and negotiates. Rejects with `QM_QMP_CONNECT`, `QM_CANCELLED`; nothing stays open then. */
export async function connectMonitor(path: string, options: ConnectMonitorOptions = {}): Promise<Monitor> {
  return followCommands(await connectQmp<QapiCommands, QapiEvents>({ path, ...options }));
}
