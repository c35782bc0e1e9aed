/** The QMP client: numbers commands, matches answers, passes events on. */
import { randomUUID } from "node:crypto";
import type { Duplex } from "node:stream";
import { throwIfAborted, withLimits } from "../base/abort.ts";
import { QmError, isQmError } from "../base/errors.ts";
import type {
  AnyEventOf,
  ConnectionState,
  EventListener,
  EventVocabulary,
  ExecuteOptions,
  QmpClient,
  QmpEvent,
  Vocabulary,
} from "./client-types.ts";
import { Connection, lostError, type ConnectionOwner } from "./connection.ts";
import { EventHub } from "./events.ts";
import { LineDecoder, protocolError } from "./framing.ts";
import { commandError, readMessage, type MonitorMessage, type QemuVersion } from "./message.ts";

const defaultEventLimit = 1000;

export interface ClientOptions {
  readonly maxLineBytes: number;
  /** Asks for out-of-band execution; granted where the greeting offers it. */
  readonly outOfBand: boolean;
  readonly onState: (state: ConnectionState) => void;
}

type Greeting = Extract<MonitorMessage, { kind: "greeting" }>;

interface PendingCommand {
  readonly command: string;
  readonly answer: PromiseWithResolvers<unknown>;
}

export class StreamQmpClient<V extends Vocabulary, E extends EventVocabulary> implements QmpClient<V, E> {
  readonly closed: Promise<Error | undefined>;
  /** Resolves in the state `running`; rejects with the error of the negotiation, or when the connection ends before. */
  readonly ready: Promise<void>;
  readonly #options: ClientOptions;
  readonly #connection: Connection;
  readonly #decoder: LineDecoder;
  readonly #events = new EventHub();
  readonly #pending = new Map<unknown, PendingCommand>();
  /** Ours alone: no answer to another connection's command must pass for one of ours. */
  readonly #idPrefix = `${randomUUID().slice(0, 8)}-`;
  readonly #ready = Promise.withResolvers<void>();
  #version: QemuVersion | undefined;
  #outOfBand = false;
  #lastId = 0;

  constructor(stream: Duplex, options: ClientOptions) {
    this.#options = options;
    this.#decoder = new LineDecoder(options.maxLineBytes);
    this.ready = this.#ready.promise;
    const owner: ConnectionOwner = {
      onData: (chunk) => this.#receive(chunk),
      onPeerEnd: () => {
        if (this.#decoder.isMidLine) throw protocolError("the stream ends in the middle of a line");
      },
      onEnd: (error) => this.#end(error),
      onState: (state) => options.onState(state),
    };
    this.#connection = new Connection(stream, owner);
    this.closed = this.#connection.closed;
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  get version(): QemuVersion {
    if (this.#version === undefined) throw new QmError("QM_QMP_STATE", { actual: this.state, required: "negotiating" });
    return this.#version;
  }

  /** Waits for the greeting and then negotiates, from `connecting` to `running`: see `ready`. Call once, when connected. */
  start(): void {
    this.#connection.advance("greeting");
  }

  async execute<N extends keyof V & string>(
    command: N,
    ...rest: undefined extends V[N]["args"]
      ? [args?: V[N]["args"], options?: ExecuteOptions]
      : [args: V[N]["args"], options?: ExecuteOptions]
  ): Promise<V[N]["result"]> {
    const [args, options] = rest as [args?: unknown, options?: ExecuteOptions];
    throwIfAborted(options?.signal, command);
    this.#connection.require("running");
    return withLimits(command, this.#send(command, args, options?.outOfBand), options ?? {});
  }

  subscribe<N extends keyof E & string>(
    names?: readonly N[],
    limit = defaultEventLimit,
  ): EventListener<QmpEvent<N, E[N]>> {
    // The vocabulary says what each event carries; the hub does not look.
    return this.#events.subscribe(names, limit) as EventListener<QmpEvent<N, E[N]>>;
  }

  onEvent(handler: (event: AnyEventOf<E>) => void): () => void {
    return this.#events.onEvent(handler as (event: QmpEvent) => void);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  #negotiate({ version, capabilities }: Greeting): void {
    this.#version = version;
    this.#connection.advance("negotiating");
    this.#outOfBand = this.#options.outOfBand && capabilities.includes("oob");
    this.#send("qmp_capabilities", this.#outOfBand ? { enable: ["oob"] } : undefined)
      .then(() => this.#connection.advance("running"))
      .then(this.#ready.resolve, this.#ready.reject);
  }

  #send(command: string, args: unknown, outOfBand = false): Promise<unknown> {
    const id = `${this.#idPrefix}${++this.#lastId}`;
    const answer = Promise.withResolvers<unknown>();
    this.#pending.set(id, { command, answer });
    const verb = outOfBand && this.#outOfBand ? "exec-oob" : "execute";
    this.#connection.send(JSON.stringify({ [verb]: command, arguments: args, id }) + "\n");
    return answer.promise;
  }

  #receive(chunk: Uint8Array): void {
    for (const line of this.#decoder.push(chunk)) {
      this.#handle(readMessage(line));
      // An event handler may have closed the connection.
      if (!this.#connection.isOpen) return;
    }
  }

  #handle(message: MonitorMessage): void {
    if (this.#isStray(message)) return;
    if ((message.kind === "greeting") !== (this.#connection.state === "greeting")) {
      throw protocolError(`${message.kind} in the state ${this.#connection.state}`);
    }
    switch (message.kind) {
      case "greeting":
        this.#negotiate(message);
        return;
      case "event":
        this.#events.dispatch(message.event);
        return;
      case "return":
        this.#takePending(message).answer.resolve(message.value);
        return;
      case "error": {
        const { command, answer } = this.#takePending(message);
        answer.reject(commandError(command, message.errorClass, message.reason));
      }
    }
  }

  /**
   * QEMU answers a client that has gone in front of the next one: what an earlier daemon had in flight when it ended. And an event that it
   * raises between two clients it gives to the second, before the greeting; whoever needs to know asks once it is connected.
   */
  #isStray(message: MonitorMessage): boolean {
    if (message.kind === "event") return this.#connection.state === "greeting";
    if (message.kind !== "return" && message.kind !== "error") return false;
    const { id } = message;
    return id !== undefined && !(typeof id === "string" && id.startsWith(this.#idPrefix));
  }

  #takePending(message: Extract<MonitorMessage, { id: unknown }>): PendingCommand {
    const pending = this.#pending.get(message.id);
    if (pending === undefined) {
      const words = message.kind === "error" ? `: ${message.reason}` : "";
      throw protocolError(`answer to no command in flight, id ${JSON.stringify(message.id)}${words}`);
    }
    this.#pending.delete(message.id);
    return pending;
  }

  #end(error: QmError | undefined): void {
    const cause = isQmError(error, "QM_QMP_LOST") ? error.cause : error;
    for (const { command, answer } of this.#pending.values()) answer.reject(lostError(command, cause));
    this.#pending.clear();
    this.#ready.reject(cause instanceof QmError ? cause : lostError("connecting", cause));
    this.#events.end(lostError("waiting for an event", cause));
  }
}
