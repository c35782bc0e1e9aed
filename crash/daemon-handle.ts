/** The campaign's side of its daemon: start, ask, kill. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { ErrorCode, ErrorFields } from "../src/base/error-registry.ts";
import { QmError } from "../src/base/errors.ts";
import type { OperationView } from "../src/api-types/index.ts";
import type { Facade } from "../src/service/facade.ts";
import type { FromDaemon, Plot, ToDaemon, UseCase } from "./daemon-messages.ts";

const program = fileURLToPath(new URL("daemon.ts", import.meta.url));

const compileCache = fileURLToPath(new URL("../.cache/compiled", import.meta.url));

/** A call whose answer did not come: the daemon was killed. What it did is unknown. */
export class DaemonDied extends Error {}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class DaemonHandle {
  readonly #child: ChildProcess;
  readonly #calls = new Map<number, Waiting>();
  readonly #ready = Promise.withResolvers<void>();
  readonly exited: Promise<void>;
  #plotted = Promise.withResolvers<void>();
  #nextId = 0;
  #isDead = false;
  /** The named point at which the plot was carried out. */
  point: string | undefined;
  /** What it wrote to its standard error. */
  words = "";

  private constructor(stateDir: string, runtimeDir: string) {
    this.#child = fork(program, [stateDir, runtimeDir], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      serialization: "advanced",
      // Daemons are started again and again: half of their start is compiling.
      env: { ...process.env, NODE_COMPILE_CACHE: compileCache },
    });
    this.#child.stderr?.on("data", (chunk) => (this.words += String(chunk)));
    this.#child.on("message", (message: FromDaemon) => this.#take(message));
    this.exited = once(this.#child, "close").then(() => {
      this.#isDead = true;
      const died = new DaemonDied(`the daemon ended: ${this.words}`);
      for (const { reject } of this.#calls.values()) reject(died);
      this.#ready.reject(died);
      this.#plotted.resolve();
    });
  }

  /** Resolves when the daemon serves, and with it what recovery waits for. Rejects with `DaemonDied`. */
  static async start(
    stateDir: string,
    runtimeDir: string,
    onPid?: (daemon: DaemonHandle) => void,
  ): Promise<DaemonHandle> {
    const handle = new DaemonHandle(stateDir, runtimeDir);
    onPid?.(handle);
    await handle.#ready.promise;
    return handle;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** One use case. Rejects with its `QmError`, or with `DaemonDied`. */
  async call<Method extends UseCase>(
    method: Method,
    ...args: Method extends "waitOperation" ? [id: string] : Parameters<Facade[Method]>
  ): Promise<Awaited<ReturnType<Facade[Method]>>> {
    if (this.#isDead) throw new DaemonDied("the daemon ended before it was asked");
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#calls.set(id, { resolve, reject });
    this.#send({ kind: "call", id, method, args });
    return (await promise.finally(() => this.#calls.delete(id))) as Awaited<ReturnType<Facade[Method]>>;
  }

  /** Resolves with the operation's end; a failed one is an answer too. */
  async finish(operation: OperationView): Promise<OperationView> {
    return await this.call("waitOperation", operation.id);
  }

  async plot(plot: Plot): Promise<void> {
    this.#plotted = Promise.withResolvers<void>();
    this.#send({ kind: "plot", plot });
    await this.#plotted.promise;
  }

  /** SIGKILL, and its end. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
  }

  /** Ends it as SIGTERM does. */
  async close(): Promise<void> {
    if (!this.#isDead) this.#send({ kind: "close" });
    await this.exited;
  }

  #send(message: ToDaemon): void {
    // A daemon that has just died is told of by `exited`.
    this.#child.send(message, () => undefined);
  }

  #take(message: FromDaemon): void {
    if (message.kind === "ready") this.#ready.resolve();
    else if (message.kind === "plotted") this.#plotted.resolve();
    else if (message.kind === "point") this.point = message.point;
    else if (message.kind === "answer") this.#calls.get(message.id)?.resolve(message.value);
    // The fields are those of that code: they were a `QmError`'s.
    else
      this.#calls
        .get(message.id)
        ?.reject(new QmError(message.error.code, message.error.fields as ErrorFields<ErrorCode>));
  }
}
