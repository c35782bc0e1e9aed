/** Cancellation and deadlines: an `AbortSignal` and milliseconds in, `QM_CANCELLED` and `QM_TIMEOUT` out. */
import { QmError } from "./errors.ts";

export interface Limits {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/** The error of something that `signal` ended; the signal's reason is its cause. */
export function cancellation(what: string, signal: AbortSignal | undefined): QmError<"QM_CANCELLED"> {
  return new QmError("QM_CANCELLED", { what }, { cause: signal?.reason });
}

/** Throws `QM_CANCELLED` when `signal` is aborted already. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted === true) throw cancellation(what, signal);
}

/**
 * What `work` gives, unless `signal` aborts first (`QM_CANCELLED`) or `timeoutMs` pass (`QM_TIMEOUT`). Only the waiting ends
 * then: stopping the work is the caller's. A later outcome of `work` is ignored.
 */
export async function withLimits<T>(what: string, work: Promise<T>, { signal, timeoutMs }: Limits): Promise<T> {
  if (signal === undefined && timeoutMs === undefined) return work;
  const limit = Promise.withResolvers<never>();
  const abort = () => limit.reject(cancellation(what, signal));
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => limit.reject(new QmError("QM_TIMEOUT", { what, timeoutMs })), timeoutMs);
  if (signal?.aborted === true) abort();
  else signal?.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([limit.promise, work]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}
