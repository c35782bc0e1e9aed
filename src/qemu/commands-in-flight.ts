/** Which commands QEMU has not answered yet, and since when: what an operation tells that would otherwise wait in silence. */
import type { EventVocabulary, ExecuteOptions, QmpClient, Vocabulary } from "../qmp/client-types.ts";

export interface CommandInFlight {
  readonly command: string;
  readonly args: unknown;
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
}

const inFlight = new WeakMap<object, Set<CommandInFlight>>();

/** In the order of sending; none where the client is not one of {@link followCommands}. */
export function commandsInFlight(client: object): readonly CommandInFlight[] {
  return [...(inFlight.get(client) ?? [])];
}

/** The same client, whose commands `commandsInFlight` knows. One that its caller gave up waiting for is not counted any more. */
export function followCommands<V extends Vocabulary, E extends EventVocabulary>(
  client: QmpClient<V, E>,
): QmpClient<V, E> {
  const waiting = new Set<CommandInFlight>();
  const untyped = client as unknown as QmpClient;
  const execute = async (command: string, args?: unknown, options?: ExecuteOptions): Promise<unknown> => {
    const sent: CommandInFlight = { command, args, sinceMs: Date.now() };
    waiting.add(sent);
    try {
      return await untyped.execute(command, args, options);
    } finally {
      waiting.delete(sent);
    }
  };
  const followed: QmpClient<V, E> = {
    get state() {
      return client.state;
    },
    get version() {
      return client.version;
    },
    closed: client.closed,
    execute: execute as QmpClient<V, E>["execute"],
    subscribe: (names, limit) => client.subscribe(names, limit),
    onEvent: (handler) => client.onEvent(handler),
    close: () => client.close(),
  };
  inFlight.set(followed, waiting);
  return followed;
}
