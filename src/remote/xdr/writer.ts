/** Writing XDR (RFC 4506). */
import { padding } from "./reader.ts";

const firstBytes = 256;

export class XdrWriter {
  #bytes = Buffer.alloc(firstBytes);
  #length = 0;

  writeInt(value: number): void {
    const at = this.#grow(4);
    this.#bytes.writeInt32BE(value, at);
  }

  writeUint(value: number): void {
    const at = this.#grow(4);
    this.#bytes.writeUInt32BE(value, at);
  }

  writeHyper(value: bigint): void {
    const at = this.#grow(8);
    this.#bytes.writeBigInt64BE(value, at);
  }

  writeUhyper(value: bigint): void {
    const at = this.#grow(8);
    this.#bytes.writeBigUInt64BE(value, at);
  }

  writeDouble(value: number): void {
    const at = this.#grow(8);
    this.#bytes.writeDoubleBE(value, at);
  }

  /** The bytes and their padding, without their length. */
  writeFixed(value: Uint8Array): void {
    const at = this.#grow(value.length + padding(value.length));
    this.#bytes.set(value, at);
  }

  writeString(value: string): void {
    const bytes = Buffer.from(value);
    this.writeUint(bytes.length);
    this.writeFixed(bytes);
  }

  /** Puts `value` where an earlier `writeUint` stands. */
  replaceUint(at: number, value: number): void {
    this.#bytes.writeUInt32BE(value, at);
  }

  get length(): number {
    return this.#length;
  }

  /** What was written. The writer must not be used any more. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Where the next `length` bytes belong. They may be in another buffer than before. */
  #grow(length: number): number {
    const start = this.#length;
    this.#length += length;
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(this.#length, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, start));
      this.#bytes = larger;
    }
    return start;
  }
}
