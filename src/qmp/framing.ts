/** The wire: one JSON object a line, UTF-8. */
import { QmError, errorText } from "../base/errors.ts";

/** QEMU's longest answer, `query-qmp-schema`, has about 200 KiB; a monitor that sends more than this is no monitor. */
export const defaultMaxLineBytes = 64 * 1024 * 1024;

export type JsonObject = Readonly<Record<string, unknown>>;

/** Cuts a byte stream into lines, wherever its chunks end. */
export class LineDecoder {
  readonly #maxLineBytes: number;
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  /** What has come of the line is its first `#sizeBytes`. One block, not the chunks: a peer may send a line byte by byte. */
  #block = Buffer.alloc(0);
  #sizeBytes = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** Whether the stream stands in the middle of a line. */
  get isMidLine(): boolean {
    return this.#sizeBytes > 0;
  }

  /** The lines that `chunk` completes, without their ends. Throws `QM_QMP_PROTOCOL` (too long, not UTF-8); useless after that. */
  *push(chunk: Uint8Array): Generator<string, void> {
    let start = 0;
    // No byte of a multi-byte character equals a newline, so whole lines can be decoded by themselves.
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      const part = chunk.subarray(start, end);
      start = end + 1;
      yield this.#completeLine(part);
    }
    this.#append(chunk.subarray(start));
  }

  #append(part: Uint8Array): void {
    if (part.length === 0) return;
    const sizeBytes = this.#checkSize(part);
    if (sizeBytes > this.#block.length) {
      const block = Buffer.allocUnsafeSlow(Math.min(2 * sizeBytes, this.#maxLineBytes));
      this.#block.copy(block, 0, 0, this.#sizeBytes);
      this.#block = block;
    }
    this.#block.set(part, this.#sizeBytes);
    this.#sizeBytes = sizeBytes;
  }

  #completeLine(part: Uint8Array): string {
    if (this.#sizeBytes === 0) {
      this.#checkSize(part);
      return this.#decode(part);
    }
    this.#append(part);
    const line = this.#decode(this.#block.subarray(0, this.#sizeBytes));
    this.#block = Buffer.alloc(0);
    this.#sizeBytes = 0;
    return line;
  }

  #checkSize(part: Uint8Array): number {
    const sizeBytes = this.#sizeBytes + part.length;
    if (sizeBytes > this.#maxLineBytes) throw protocolError(`a line of more than ${this.#maxLineBytes} bytes`);
    return sizeBytes;
  }

  #decode(bytes: Uint8Array): string {
    try {
      return this.#utf8.decode(bytes);
    } catch (error) {
      throw protocolError("a line that is not UTF-8", error);
    }
  }
}

/** The object that a line holds. Throws `QM_QMP_PROTOCOL`. */
export function parseObject(line: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw protocolError(`${excerpt(line)}: ${errorText(error)}`, error);
  }
  if (!isJsonObject(value)) throw protocolError(`${excerpt(line)} is not an object`);
  return value;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function protocolError(reason: string, cause?: unknown): QmError<"QM_QMP_PROTOCOL"> {
  return new QmError("QM_QMP_PROTOCOL", { reason }, cause === undefined ? undefined : { cause });
}

/** A text short enough for an error message. */
export function excerpt(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
