/** One client: its packets, the order of its calls, and what it may hold of the daemon's memory. */
import type { Socket } from "node:net";
import { QmError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { Facade } from "../../service/facade.ts";
import { FrameCutter } from "../frames.ts";
import { programs, protocolVersion, readBody, readPacket, writePacket, type Packet } from "../packets.ts";
import { connectClose, connectOpen, wireError, type Procedure } from "../protocol/index.ts";
import { malformed, struct, type ValueOf } from "../xdr/index.ts";
import { EventSubscriptions } from "./event-subscriptions.ts";
import { servedProcedures } from "./procedures.ts";
import type { JobTargets } from "./job-targets.ts";
import type { HostFacts, Served, Session } from "./served.ts";
import { toWireError } from "./wire-errors.ts";

/** Calls of one client that are worked on at the same time; more wait. */
const maxRunningCalls = 5;
/** A client whose calls wait beyond either is not read from until they are fewer. */
const maxWaitingCalls = 100;
const maxWaitingBytes = 4 * 1024 * 1024;
/** Answers that the client has not taken. Above the first no further call of its is begun, above the second it is hung up on. */
const maxUnsentBytes = 4 * 1024 * 1024;
const maxUnsentUnaskedBytes = 16 * 1024 * 1024;

const keepalive = { ping: 1, pong: 2 } as const;
const nothing = struct({});

export interface ConnectionOptions {
  readonly socket: Socket;
  readonly facade: Facade;
  readonly host: HostFacts;
  readonly targets: JobTargets;
  readonly logger: Logger;
  /** It came by the socket that permits reading only. */
  readonly readOnly: boolean;
}

/** `greeting`: not opened yet. `closed`: no call is answered any more, except those under way. */
type ConnectionState = "greeting" | "open" | "closed";

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #cutter = new FrameCutter();
  readonly #gone = new AbortController();
  readonly #session: Session;
  readonly #waiting: Packet[] = [];
  readonly #running = new Set<number>();
  #waitingBytes = 0;
  #state: ConnectionState = "greeting";
  #readOnly: boolean;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#readOnly = options.readOnly;
    const { socket, facade, host, targets } = options;
    const { signal } = this.#gone;
    const events = new EventSubscriptions({
      facade,
      targets,
      send: (event, value) => this.#sendEvent(event, value),
      fail: (error) => this.#fail(error),
      signal,
    });
    this.#session = { facade, host, targets, events, signal };
    socket.on("data", (chunk) => {
      if (typeof chunk !== "string") this.#receive(chunk);
    });
    socket.on("drain", () => this.#startCalls());
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      this.#state = "closed";
      this.#waiting.length = 0;
      this.#gone.abort();
    });
  }

  /** Ends it at once; calls under way go on, their answers are lost. */
  destroy(): void {
    this.#options.socket.destroy();
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#cutter.push(chunk)) this.#accept(readPacket(frame));
    } catch (error) {
      this.#fail(error);
    }
  }

  #accept(packet: Packet): void {
    const { program, version, type, serial, status, procedure } = packet;
    if (version !== protocolVersion) throw malformed(`version ${version} of program 0x${program.toString(16)}`);
    if (program === programs.keepalive) return this.#keepAlive(packet);
    if (program !== programs.remote && program !== programs.qemu) throw malformed(`program 0x${program.toString(16)}`);
    if (type !== "call" || status !== "ok") throw malformed(`a client sent a ${type} (${status})`);
    if (this.#running.has(serial) || this.#waiting.some((other) => other.serial === serial)) {
      throw malformed(`serial ${serial} of procedure ${procedure} is in use`);
    }
    this.#waiting.push(packet);
    this.#waitingBytes += packet.sizeBytes;
    this.#startCalls();
  }

  #keepAlive(packet: Packet): void {
    if (packet.type !== "event" || (packet.procedure !== keepalive.ping && packet.procedure !== keepalive.pong)) {
      throw malformed(`procedure ${packet.procedure} of keepalive`);
    }
    readBody(packet, nothing);
    if (packet.procedure === keepalive.ping) {
      this.#sendUnasked(writePacket({ ...packet, procedure: keepalive.pong }, nothing, {}));
    }
  }

  #startCalls(): void {
    const { socket } = this.#options;
    while (this.#running.size < maxRunningCalls && socket.writableLength < maxUnsentBytes) {
      const packet = this.#waiting.shift();
      if (packet === undefined) break;
      this.#waitingBytes -= packet.sizeBytes;
      this.#running.add(packet.serial);
      void this.#call(packet).finally(() => {
        this.#running.delete(packet.serial);
        this.#startCalls();
      });
    }
    const full = this.#waiting.length >= maxWaitingCalls || this.#waitingBytes >= maxWaitingBytes;
    if (full) socket.pause();
    else if (socket.isPaused()) socket.resume();
  }

  /** Never rejects: what goes wrong is the answer. */
  async #call(packet: Packet): Promise<void> {
    try {
      const served = packet.program === programs.remote ? servedProcedures.get(packet.procedure) : undefined;
      if (served === undefined)
        throw new QmError("QM_UNSUPPORTED", { what: `procedure ${packet.procedure}`, detail: "" });
      this.#admit(served);
      const args = readBody(packet, served.args);
      const ret = await served.handle(this.#session, args);
      this.#afterwards(served, args);
      this.#send(writePacket({ ...packet, type: "reply", status: "ok" }, served.ret, ret));
    } catch (error) {
      this.#send(writePacket({ ...packet, type: "reply", status: "error" }, wireError, toWireError(error)));
    }
  }

  #admit({ name, access }: Served): void {
    if (access === "greet") return;
    if (this.#state !== "open") throw malformed(`${name} on a connection that is ${this.#state}`);
    if (access === "write" && this.#readOnly) throw new QmError("QM_READ_ONLY", { procedure: name });
  }

  #afterwards({ number }: Served, args: unknown): void {
    if (number === connectOpen.number) {
      if (this.#state !== "greeting") throw malformed(`${connectOpen.name} on a connection that is ${this.#state}`);
      this.#state = "open";
      this.#readOnly ||= (args as ValueOf<typeof connectOpen.args>).flags.readOnly;
    } else if (number === connectClose.number) this.#state = "closed";
  }

  #sendEvent<A>({ number, args }: Procedure<A, unknown>, value: A): void {
    if (this.#state !== "open") return;
    const header = { program: programs.remote, version: protocolVersion, procedure: number, serial: 0 } as const;
    this.#sendUnasked(writePacket({ ...header, type: "event", status: "ok" }, args, value));
  }

  /** What waits for no call of the client to be begun: it must not pile up. */
  #sendUnasked(bytes: Buffer): void {
    if (this.#options.socket.writableLength <= maxUnsentUnaskedBytes) return this.#send(bytes);
    this.#fail(new QmError("QM_STREAM_SLOW", { limitBytes: maxUnsentUnaskedBytes }));
  }

  #send(bytes: Buffer): void {
    const { socket } = this.#options;
    if (socket.writable) socket.write(bytes);
  }

  #fail(error: unknown): void {
    if (this.#gone.signal.aborted || this.#options.socket.destroyed) return;
    this.#options.logger.warn({ reason: toWireError(error).message }, "a libvirt client was hung up on");
    this.destroy();
  }
}
