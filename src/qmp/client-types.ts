/** What a QMP client offers, apart from how: the engine and the fakes depend on this alone. */

export const connectionStates = ["connecting", "greeting", "negotiating", "running", "closing", "closed"] as const;
export type ConnectionState = (typeof connectionStates)[number];

/** A vocabulary maps command names to their arguments and results. `src/qemu/qapi.gen.ts` has QEMU's. */
export type Vocabulary = Record<string, { args: unknown; result: unknown }>;

export interface QmpEvent<Name extends string = string, Data = unknown> {
  readonly event: Name;
  readonly data: Data;
  /** Milliseconds since 1970 by QEMU's clock; -1000 or less when it could not tell. */
  readonly timestampMs: number;
}

export type EventVocabulary = Record<string, unknown>;

export type AnyEventOf<E extends EventVocabulary> = { [N in keyof E & string]: QmpEvent<N, E[N]> }[keyof E & string];

export interface ExecuteOptions {
  /** Stops waiting with `QM_CANCELLED`; the command itself stays in flight, its outcome is then unknown to the caller. */
  readonly signal?: AbortSignal;
  /** Stops waiting with `QM_TIMEOUT` after this many milliseconds. */
  readonly timeoutMs?: number;
  /** Sends it out of band, where the greeting offered that; otherwise it is sent in band. */
  readonly outOfBand?: boolean;
}

export interface EventListener<Event> extends AsyncIterable<Event> {
  /** The next event; rejects with `QM_QMP_LOST`-class errors when the connection ends, `QM_QMP_OVERFLOW` when it fell behind. */
  next(signal?: AbortSignal): Promise<Event>;
  /** Stops listening. Idempotent. */
  close(): void;
}

export interface QmpClient<V extends Vocabulary = Vocabulary, E extends EventVocabulary = EventVocabulary> {
  readonly state: ConnectionState;
  /** Version triple of the greeting: `{major, minor, micro}`. */
  readonly version: { readonly major: number; readonly minor: number; readonly micro: number };
  /** Resolves when the connection has ended, with the error that ended it, or undefined after `close()`. */
  readonly closed: Promise<Error | undefined>;
  /**
   * Sends one command; any number may be in flight. Commands are written in the order of the calls, so that
   * `Promise.all` over several calls is a pipeline.
   * Rejects with `QM_QMP_COMMAND` (QEMU answered with an error; `fields.class` and `fields.reason` are QEMU's),
   * `QM_QMP_LOST` (sent, but the connection dropped first: the outcome is unknown), `QM_QMP_STATE` (never sent).
   */
  execute<N extends keyof V & string>(
    command: N,
    ...rest: undefined extends V[N]["args"]
      ? [args?: V[N]["args"], options?: ExecuteOptions]
      : [args: V[N]["args"], options?: ExecuteOptions]
  ): Promise<V[N]["result"]>;
  /** Events from now on, of these names (all when absent), kept in a queue of at most `limit` (default 1000). */
  subscribe<N extends keyof E & string>(names?: readonly N[], limit?: number): EventListener<QmpEvent<N, E[N]>>;
  /** Calls `handler` for each event synchronously in arrival order, with no queue; returns the function that stops it. */
  onEvent(handler: (event: AnyEventOf<E>) => void): () => void;
  /** Ends the connection; commands in flight reject with `QM_QMP_LOST`. Idempotent. */
  close(): Promise<void>;
}
