/** The context of one run of the command line; it connects only when a command is about to act. */
import { ApiError } from "../client/api-error.ts";
import { QmirrorClient } from "../client/client.ts";
import type { CliContext } from "./context.ts";
import type { CliIo } from "./io.ts";
import { createOutput, type Output } from "./output.ts";

export class CliSession implements CliContext {
  readonly io: CliIo;
  readonly out: Output;
  readonly json: boolean;
  exitCode = 0;
  #client: QmirrorClient | undefined;
  #close: (() => void) | undefined;

  constructor(io: CliIo, json: boolean) {
    this.io = io;
    this.out = createOutput(io);
    this.json = json;
  }

  get client(): QmirrorClient {
    if (this.#client === undefined) {
      throw new ApiError({ code: "QM_INTERNAL", message: "internal error: not opened yet", fields: {} }, 0);
    }
    return this.#client;
  }

  /** Makes `client` usable. The transport is loaded here, so that help and usage errors come fast. */
  async open(socket: string | undefined): Promise<void> {
    const { openDaemonTransport } = await import("./connect.ts");
    const transport = openDaemonTransport(this.io, socket);
    this.#client = new QmirrorClient(transport.send);
    this.#close = () => transport.close();
  }

  close(): void {
    this.#close?.();
  }
}
