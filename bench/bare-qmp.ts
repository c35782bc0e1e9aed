/** The least that talks QMP: JSON lines over a socket. Nothing is checked that the benchmark does not need. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

interface Message {
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
  readonly data?: { readonly id?: string; readonly status?: string };
}

interface JobWaiter {
  readonly missing: Set<string>;
  readonly status: string;
  readonly reached: PromiseWithResolvers<void>;
}

export class BareQmp {
  readonly #socket: Socket;
  readonly #answers: PromiseWithResolvers<unknown>[] = [];
  readonly #waiters: JobWaiter[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    createInterface({ input: socket }).on("line", (line) => this.#receive(JSON.parse(line) as Message));
    // What failed is not told apart: "close" follows.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      const error = new Error("the monitor's connection ended");
      for (const { reject } of this.#answers) reject(error);
      for (const { reached } of this.#waiters) reached.reject(error);
    });
  }

  /** Connects and leaves the negotiation mode. */
  static async connect(path: string): Promise<BareQmp> {
    const socket = connect(path);
    await once(socket, "connect");
    const qmp = new BareQmp(socket);
    await qmp.send("qmp_capabilities");
    return qmp;
  }

  /** Commands sent in one turn of the event loop leave in one write. */
  send(command: string, args?: object): Promise<unknown> {
    const answer = Promise.withResolvers<unknown>();
    const id = this.#answers.push(answer) - 1;
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      process.nextTick(() => this.#socket.uncork());
    }
    this.#socket.write(JSON.stringify({ execute: command, arguments: args, id }) + "\n");
    return answer.promise;
  }

  /** Resolves when each of `jobs` was seen in `status` after this call; rejects when one fails. */
  jobsReach(jobs: readonly string[], status: string): Promise<void> {
    const waiter = { missing: new Set(jobs), status, reached: Promise.withResolvers<void>() };
    this.#waiters.push(waiter);
    return waiter.reached.promise;
  }

  async close(): Promise<void> {
    if (this.#socket.closed) return;
    const closed = once(this.#socket, "close");
    this.#socket.destroy();
    await closed;
  }

  #receive(message: Message): void {
    const { id, status } = message.data ?? {};
    if (message.event === "JOB_STATUS_CHANGE" && id !== undefined && status !== undefined) this.#note(id, status);
    if (message.id === undefined) return;
    const answer = this.#answers[message.id];
    if (message.error === undefined) answer?.resolve(message.return);
    else answer?.reject(new Error(message.error.desc));
  }

  #note(job: string, status: string): void {
    for (const waiter of this.#waiters) {
      if (!waiter.missing.has(job)) continue;
      if (status === "aborting") waiter.reached.reject(new Error(`job ${job} fails`));
      if (status === waiter.status) waiter.missing.delete(job);
      if (waiter.missing.size === 0) waiter.reached.resolve();
    }
  }
}
