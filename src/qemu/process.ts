/** QEMU as a process: started detached, found again, stopped. */
import { setTimeout as delay } from "node:timers/promises";
import { cancellation } from "../base/abort.ts";
import { errorText, isQmError, QmError } from "../base/errors.ts";
import { isAlive, type QemuIdentity } from "./identity.ts";
import { connectMonitor, type ConnectMonitorOptions, type Monitor } from "./monitor.ts";

/**
 * Connects to a QEMU that was started earlier, and makes sure that it is the one: pid, start time, and the uuid it answers with.
 * Resolves with `dead` when the process has ended. Rejects with `QM_QMP_CONNECT` when it lives but its monitor cannot be
 * reached (another client holds it, or QEMU hangs): it must not be taken for dead then.
 */
export async function findAgain(
  identity: QemuIdentity,
  options: ConnectMonitorOptions = {},
): Promise<Monitor | "dead"> {
  if (!isAlive(identity)) return "dead";
  let monitor: Monitor | undefined;
  try {
    monitor = await connectMonitor(identity.qmpSocket, options);
    const { UUID } = await monitor.execute("query-uuid", undefined, {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(options.connectTimeoutMs === undefined ? {} : { timeoutMs: options.connectTimeoutMs }),
    });
    if (UUID === identity.uuid) return monitor;
    throw new Error(`a QEMU with uuid ${UUID} answers, not ${identity.uuid}`);
  } catch (error) {
    await monitor?.close();
    if (isQmError(error, "QM_CANCELLED")) throw error;
    if (!isAlive(identity)) return "dead";
    if (isQmError(error, "QM_QMP_CONNECT")) throw error;
    throw new QmError("QM_QMP_CONNECT", { path: identity.qmpSocket, reason: errorText(error) }, { cause: error });
  }
}

const firstRetryMs = 20;
const lastRetryMs = 2000;

/**
 * Like {@link findAgain} after a lost connection, but patient: a QEMU that is just being killed still counts as alive for a moment, and
 * one whose monitor is taken or stopped may answer later. Ends only with one of the two answers, or `QM_CANCELLED`.
 */
export async function findAgainPatiently(identity: QemuIdentity, signal: AbortSignal): Promise<Monitor | "dead"> {
  // Nothing tells of the end of a process that is not our child, or of a monitor becoming free.
  for (let waitMs = firstRetryMs; ; waitMs = Math.min(waitMs * 2, lastRetryMs)) {
    try {
      return await findAgain(identity, { signal });
    } catch (error) {
      if (!isQmError(error, "QM_QMP_CONNECT")) throw error;
      await delay(waitMs, undefined, { signal }).catch(() => {
        throw cancellation("finding QEMU again", signal);
      });
    }
  }
}

export interface StopOptions {
  /** SIGKILL in place of SIGTERM. After SIGTERM QEMU flushes its images; either way every acknowledged flush is on disk. */
  readonly force: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Ends QEMU and waits until it is gone; no error when it is gone already. Rejects with `QM_CANCELLED` (the signal was sent, the
 * end was not seen) or `QM_IO` (not permitted). The caller bounds the wait with `signal`.
 */
export async function stopQemu(identity: QemuIdentity, { force, signal }: StopOptions): Promise<void> {
  if (!isAlive(identity)) return;
  try {
    process.kill(identity.pid, force ? "SIGKILL" : "SIGTERM");
  } catch (error) {
    if (!isAlive(identity)) return;
    throw new QmError(
      "QM_IO",
      { what: "ending the process", path: `/proc/${identity.pid}`, reason: errorText(error) },
      { cause: error },
    );
  }
  // A process that is not our child (we may have been restarted) notifies nobody when it ends, and its only QMP connection may
  // be in use elsewhere: looking is all that is left.
  const pollMs = 20;
  while (isAlive(identity)) {
    try {
      await delay(pollMs, undefined, signal === undefined ? {} : { signal });
    } catch {
      throw cancellation("waiting for the end of QEMU", signal);
    }
  }
}
