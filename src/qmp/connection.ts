/** A stream with named, guarded states. It moves bytes; what they mean is its owner's. */
import type { Duplex } from "node:stream";
import { QmError, asQmError, errorText } from "../base/errors.ts";
import type { ConnectionState } from "./client-types.ts";

const nextStates: Readonly<Record<ConnectionState, readonly ConnectionState[]>> = {
  connecting: ["greeting", "running", "closing"],
  greeting: ["negotiating", "closing"],
  negotiating: ["running", "closing"],
  running: ["closing"],
  closing: ["closed"],
  closed: [],
};

export interface ConnectionOwner {
  /** Bytes that arrived. What it throws ends the connection with that error. */
  onData(chunk: Uint8Array): void;
  /** The peer has ended the stream in order. May throw, as `onData` may. */
  onPeerEnd(): void;
  /** Nothing will arrive or be sent any more; without an error after `close()`. Called once, in the state `closing`. */
  onEnd(error: QmError | undefined): void;
  onState(state: ConnectionState): void;
}

export class Connection {
  /** Resolves in the state `closed`, with the error that ended the connection, or undefined after `close()`. */
  readonly closed: Promise<Error | undefined>;
  readonly #stream: Duplex;
  readonly #owner: ConnectionOwner;
  readonly #whenClosed = Promise.withResolvers<Error | undefined>();
  #state: ConnectionState = "connecting";
  #error: QmError | undefined;

  /** Takes over `stream`, connected or about to be. */
  constructor(stream: Duplex, owner: ConnectionOwner) {
    this.closed = this.#whenClosed.promise;
    this.#stream = stream;
    this.#owner = owner;
    owner.onState(this.#state);
    stream.on("data", (chunk: Uint8Array) => this.#guard(() => owner.onData(chunk)));
    stream.on("end", () => {
      this.#guard(() => owner.onPeerEnd());
      this.fail(lostError("nothing"));
    });
    stream.on("error", (error) => this.fail(lostError("nothing", error)));
    stream.on("close", () => {
      this.fail(lostError("nothing"));
      this.#enter("closed");
      this.#whenClosed.resolve(this.#error);
    });
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Whether bytes still count. */
  get isOpen(): boolean {
    return this.#state !== "closing" && this.#state !== "closed";
  }

  /** Enters `state`; `QM_QMP_STATE` when that cannot follow the present one. */
  advance(state: Exclude<ConnectionState, "closing" | "closed">): void {
    if (!nextStates[this.#state].includes(state)) {
      const required = Object.entries(nextStates).flatMap(([from, to]) => (to.includes(state) ? [from] : []));
      throw new QmError("QM_QMP_STATE", { actual: this.#state, required: required.join(" or ") });
    }
    this.#enter(state);
  }

  /** Throws `QM_QMP_STATE` in any other state. */
  require(required: ConnectionState): void {
    if (this.#state !== required) throw new QmError("QM_QMP_STATE", { actual: this.#state, required });
  }

  /** Queues bytes for the peer, after those of earlier calls. */
  send(bytes: string | Uint8Array): void {
    this.#stream.write(bytes);
  }

  /** Ends the connection with `error`. Does nothing when it is ending already. */
  fail(error: QmError): void {
    this.#finish(error);
  }

  /** Ends the connection; resolves when it is closed. Idempotent. */
  async close(): Promise<void> {
    this.#finish(undefined);
    await this.closed;
  }

  #finish(error: QmError | undefined): void {
    if (!this.isOpen) return;
    this.#error = error;
    this.#enter("closing");
    this.#owner.onEnd(error);
    this.#stream.destroy();
  }

  #enter(state: ConnectionState): void {
    this.#state = state;
    this.#owner.onState(state);
  }

  #guard(react: () => void): void {
    if (!this.isOpen) return;
    try {
      react();
    } catch (error) {
      this.fail(asQmError(error));
    }
  }
}

/** The error of what was under way when the connection ended. */
export function lostError(command: string, cause?: unknown): QmError<"QM_QMP_LOST"> {
  const reason = cause === undefined ? {} : { reason: errorText(cause) };
  return new QmError("QM_QMP_LOST", { command, ...reason }, cause === undefined ? undefined : { cause });
}
