/** Reading XDR (RFC 4506): big-endian, everything a multiple of four bytes. No length in it is believed before it is checked. */
import { QmError } from "../../base/errors.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Every method throws `QM_REMOTE_PROTOCOL` where the bytes do not hold what is asked for. */
export class XdrReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  readInt(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  readUint(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  readHyper(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8));
  }

  readUhyper(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  readDouble(): number {
    return this.#bytes.readDoubleBE(this.#take(8));
  }

  /** A number of items, each of at least `itemBytes`: more than the rest can hold is refused before anything is made of it. */
  readCount(max: number, itemBytes: number): number {
    const count = this.readUint();
    if (count > max) throw malformed(`a length of ${count} exceeds ${max}`);
    if (count * itemBytes > this.#bytes.length - this.#at) throw malformed(`a length of ${count} exceeds the message`);
    return count;
  }

  /** `length` bytes and their padding. The result shares the message's memory. */
  readFixed(length: number): Buffer {
    const start = this.#take(length + padding(length));
    const end = start + length;
    if (this.#bytes.subarray(end, this.#at).some((byte) => byte !== 0)) throw malformed("padding is not zero");
    return this.#bytes.subarray(start, end);
  }

  readString(maxBytes: number): string {
    const bytes = this.readFixed(this.readCount(maxBytes, 1));
    try {
      return utf8.decode(bytes);
    } catch (error) {
      throw malformed("a string is not UTF-8", error);
    }
  }

  /** Everything has been read. */
  assertEnd(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw malformed(`${left} bytes follow what was expected`);
  }

  #take(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw malformed("the message ends too early");
    this.#at = start + length;
    return start;
  }
}

export function padding(length: number): number {
  return -length & 3;
}

export function malformed(reason: string, cause?: unknown): QmError<"QM_REMOTE_PROTOCOL"> {
  return new QmError("QM_REMOTE_PROTOCOL", { reason }, cause === undefined ? {} : { cause });
}
