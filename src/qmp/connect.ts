/** Opens a QMP connection. */
import { throwIfAborted } from "../base/abort.ts";
import { StreamQmpClient } from "./client.ts";
import type { ConnectionState, EventVocabulary, QmpClient, Vocabulary } from "./client-types.ts";
import { awaitReady, nameEndpoint, openStream, whenConnected, type Endpoint } from "./endpoint.ts";
import { defaultMaxLineBytes } from "./framing.ts";

const defaultConnectTimeoutMs = 10_000;

export type QmpConnectOptions = Endpoint & {
  readonly signal?: AbortSignal;
  /** Bounds connecting, greeting and negotiation together; default 10000. */
  readonly connectTimeoutMs?: number;
  /** Negotiates out-of-band execution where QEMU offers it; default false. */
  readonly outOfBand?: boolean;
  /** Called on entering each state, the first (`connecting`) included. Must not throw. */
  readonly onState?: (state: ConnectionState) => void;
  /** Longest line accepted; default 64 MiB. */
  readonly maxLineBytes?: number;
};

/**
 * A client in the state `running`. Rejects with `QM_QMP_CONNECT` (nobody listens, or QEMU closed or refused), `QM_QMP_PROTOCOL`
 * (the peer is no monitor), `QM_TIMEOUT` (also when another client holds the monitor, which greets one at a time) or
 * `QM_CANCELLED`; nothing stays open then.
 */
export async function connectQmp<V extends Vocabulary = Vocabulary, E extends EventVocabulary = EventVocabulary>(
  options: QmpConnectOptions,
): Promise<QmpClient<V, E>> {
  const what = `connecting to the monitor ${nameEndpoint(options)} (it serves one client at a time)`;
  throwIfAborted(options.signal, what);
  const stream = openStream(options);
  const client = new StreamQmpClient<V, E>(stream, {
    maxLineBytes: options.maxLineBytes ?? defaultMaxLineBytes,
    outOfBand: options.outOfBand ?? false,
    onState: options.onState ?? (() => undefined),
  });
  whenConnected(stream, () => client.start());
  await awaitReady(options, what, client, {
    signal: options.signal,
    timeoutMs: options.connectTimeoutMs ?? defaultConnectTimeoutMs,
  });
  return client;
}
