/**
 * The channel to QEMU's guest agent (QEMU: docs/interop/qemu-ga-ref). It has no greeting, no events and no ids: one command at a
 * time, and after anything that left an answer under way the two sides agree anew with `guest-sync-delimited`, whose answer
 * comes after a byte 0xFF. The guest is not trusted: what it sends can make a command fail, and nothing else.
 */
import { randomInt } from "node:crypto";
import type { Duplex } from "node:stream";
import { throwIfAborted, withLimits, type Limits } from "../base/abort.ts";
import { asQmError, type QmError } from "../base/errors.ts";
import type { ConnectionState } from "./client-types.ts";
import { Connection, lostError } from "./connection.ts";
import { awaitReady, nameEndpoint, openStream, whenConnected, type Endpoint } from "./endpoint.ts";
import { LineDecoder, isJsonObject, parseObject, protocolError, type JsonObject } from "./framing.ts";
import { commandError } from "./message.ts";

const defaultConnectTimeoutMs = 10_000;
/** A guest decides how much of the daemon's memory its answers take: far more than any list of file systems, and no more. */
const defaultMaxAnswerBytes = 4 * 1024 * 1024;
const delimiter = 0xff;

export type AgentConnectOptions = Endpoint & {
  readonly signal?: AbortSignal;
  /** Bounds the connection to the socket; default 10000. Whether an agent runs shows with the first command only. */
  readonly connectTimeoutMs?: number;
  readonly onState?: (state: ConnectionState) => void;
  /** Longest answer accepted; default 4 MiB. */
  readonly maxLineBytes?: number;
};

export interface GuestAgentChannel {
  readonly state: ConnectionState;
  readonly closed: Promise<Error | undefined>;
  /**
   * Sends one command when those before it are done. Rejects with `QM_QMP_COMMAND` (the agent refused), `QM_TIMEOUT` and
   * `QM_CANCELLED` (waiting for the turn included; once sent, the outcome is unknown), `QM_QMP_PROTOCOL` (the answer was none:
   * the next command starts afresh), `QM_QMP_LOST`, `QM_QMP_STATE`. A guest may never answer: give a `timeoutMs`.
   */
  execute(command: string, args?: JsonObject, limits?: Limits): Promise<unknown>;
  close(): Promise<void>;
}

/** Connects to the channel's socket. Rejects as `connectQmp` does. */
export async function connectAgent(options: AgentConnectOptions): Promise<GuestAgentChannel> {
  const what = `connecting to the guest agent's channel ${nameEndpoint(options)}`;
  throwIfAborted(options.signal, what);
  const stream = openStream(options);
  const channel = new StreamAgentChannel(
    stream,
    options.maxLineBytes ?? defaultMaxAnswerBytes,
    options.onState ?? (() => undefined),
  );
  whenConnected(stream, () => channel.start());
  await awaitReady(options, what, channel, {
    signal: options.signal,
    timeoutMs: options.connectTimeoutMs ?? defaultConnectTimeoutMs,
  });
  return channel;
}

/** Who waits for the answer under way, and whether it still has to be found behind a delimiter. */
interface Expectation {
  readonly command: string;
  readonly answer: PromiseWithResolvers<JsonObject>;
  readonly syncId: number | undefined;
  isDelimited: boolean;
}

class StreamAgentChannel implements GuestAgentChannel {
  readonly closed: Promise<Error | undefined>;
  readonly ready: Promise<void>;
  readonly #connection: Connection;
  readonly #maxLineBytes: number;
  readonly #ready = Promise.withResolvers<void>();
  #decoder: LineDecoder;
  #turn: Promise<void> = Promise.resolve();
  #isSynced = false;
  #expected: Expectation | undefined;

  constructor(stream: Duplex, maxLineBytes: number, onState: (state: ConnectionState) => void) {
    this.#maxLineBytes = maxLineBytes;
    this.#decoder = new LineDecoder(maxLineBytes);
    this.ready = this.#ready.promise;
    this.#connection = new Connection(stream, {
      onData: (chunk) => this.#receive(chunk),
      onPeerEnd: () => undefined,
      onEnd: (error) => this.#end(error),
      onState,
    });
    this.closed = this.#connection.closed;
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  start(): void {
    this.#connection.advance("running");
    this.#ready.resolve();
  }

  async execute(command: string, args?: JsonObject, limits: Limits = {}): Promise<unknown> {
    throwIfAborted(limits.signal, command);
    const stop = new AbortController();
    try {
      return await withLimits(command, this.#takeTurn(command, args, stop.signal), limits);
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #takeTurn(command: string, args: JsonObject | undefined, stop: AbortSignal): Promise<unknown> {
    const before = this.#turn;
    const mine = Promise.withResolvers<void>();
    this.#turn = mine.promise;
    await before;
    try {
      throwIfAborted(stop, command);
      this.#connection.require("running");
      if (!this.#isSynced) await this.#synchronize(stop);
      const answer = await this.#ask(command, args, undefined, stop);
      this.#isSynced = true;
      if ("return" in answer) return answer["return"];
      throw readRefusal(command, answer);
    } finally {
      mine.resolve();
    }
  }

  async #synchronize(stop: AbortSignal): Promise<void> {
    const id = randomInt(1, 2 ** 47);
    // Makes the agent forget a command of which it has read but a part.
    this.#connection.send(Uint8Array.of(delimiter));
    await this.#ask("guest-sync-delimited", { id }, id, stop);
  }

  async #ask(
    command: string,
    args: JsonObject | undefined,
    syncId: number | undefined,
    stop: AbortSignal,
  ): Promise<JsonObject> {
    this.#isSynced = false;
    const answer = Promise.withResolvers<JsonObject>();
    this.#expected = { command, answer, syncId, isDelimited: syncId === undefined };
    this.#connection.send(JSON.stringify({ execute: command, arguments: args }) + "\n");
    try {
      return await withLimits(command, answer.promise, { signal: stop });
    } finally {
      this.#expected = undefined;
    }
  }

  #receive(received: Uint8Array): void {
    const expected = this.#expected;
    // Nobody asked: the answer to a command that was given up, or the guest's own idea.
    if (expected === undefined) return;
    let chunk = received;
    if (expected.syncId !== undefined) {
      const start = chunk.lastIndexOf(delimiter) + 1;
      if (start > 0) {
        expected.isDelimited = true;
        this.#decoder = new LineDecoder(this.#maxLineBytes);
        chunk = chunk.subarray(start);
      }
      if (!expected.isDelimited) return;
    }
    try {
      for (const line of this.#decoder.push(chunk)) {
        const message = parseObject(line);
        // An earlier synchronization, given up, may be answered first.
        if (expected.syncId === undefined || message["return"] === expected.syncId) {
          expected.answer.resolve(message);
          return;
        }
      }
    } catch (error) {
      this.#decoder = new LineDecoder(this.#maxLineBytes);
      expected.answer.reject(asQmError(error));
    }
  }

  #end(error: QmError | undefined): void {
    this.#ready.reject(lostError("connecting", error?.cause));
    this.#expected?.answer.reject(lostError(this.#expected.command, error?.cause));
  }
}

function readRefusal(command: string, { error }: JsonObject): QmError {
  if (!isJsonObject(error)) return protocolError(`the answer to ${command} is neither a result nor an error`);
  return commandError(command, String(error["class"]), String(error["desc"]));
}
