/** Streams of JSON lines (`application/x-ndjson`) that a client follows for as long as it likes. */
import type { FastifyReply } from "fastify";
import type { StreamErrorLine } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import { toErrorBody } from "./errors.ts";

/** A client that has this much left to read is cut off, unless only the newest line matters to it. */
export const maxWaitingBytes = 1024 * 1024;

export interface StreamOptions {
  /** A slow client misses lines that a newer one replaces, and is never cut off. The last line always arrives. */
  readonly newestOnly?: boolean;
}

/** The streams of one server, so that its end can end them. */
export class OpenStreams {
  readonly #controllers = new Set<AbortController>();

  /** Aborts every stream; each ends its response. */
  endAll(): void {
    for (const controller of this.#controllers) controller.abort();
  }

  /**
   * Takes `reply` over and writes what `open` yields, a line each. The head goes out at once. `open`'s signal aborts when the
   * client goes or the server closes. An error is the last line (`StreamErrorLine`). Resolves when the response has ended.
   */
  async send<T>(
    reply: FastifyReply,
    open: (signal: AbortSignal) => AsyncIterable<T>,
    options: StreamOptions = {},
  ): Promise<void> {
    reply.hijack();
    const response = reply.raw;
    const controller = new AbortController();
    this.#controllers.add(controller);
    response.once("close", () => controller.abort());
    response.writeHead(200, { "content-type": "application/x-ndjson; charset=utf-8", "cache-control": "no-store" });
    response.flushHeaders();

    let newest: T | undefined;
    const writeNewest = () => {
      if (newest !== undefined) response.write(toLine(newest));
      newest = undefined;
    };
    if (options.newestOnly === true) response.on("drain", writeNewest);
    try {
      for await (const item of open(controller.signal)) {
        if (controller.signal.aborted) break;
        if (options.newestOnly === true && response.writableNeedDrain) {
          newest = item;
          continue;
        }
        response.write(toLine(item));
        if (response.writableLength > maxWaitingBytes) {
          throw new QmError("QM_STREAM_SLOW", { limitBytes: maxWaitingBytes });
        }
      }
      writeNewest();
    } catch (error) {
      const line: StreamErrorLine = { streamError: toErrorBody(error) };
      if (!controller.signal.aborted) response.write(toLine(line));
    } finally {
      this.#controllers.delete(controller);
      controller.abort();
      response.end();
    }
  }
}

function toLine(item: unknown): string {
  return `${JSON.stringify(item)}\n`;
}
