/** Cutting a byte stream into frames: each begins with its length, a 4-byte word that counts itself. */
import { malformed } from "./xdr/index.ts";

/** libvirt's VIR_NET_MESSAGE_MAX; its clients hang up above. */
export const maxFrameBytes = 32 * 1024 * 1024;
const lengthBytes = 4;
export const headerBytes = 6 * 4;

/** Keeps what was received of the next frame: never more than that frame, and no memory before its bytes are here. */
export class FrameCutter {
  #chunks: Buffer[] = [];
  #bytes = 0;

  /** The frames that `chunk` completes, without their length word. Throws `QM_REMOTE_PROTOCOL`; the stream is lost then. */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const frames: Buffer[] = [];
    for (let length = this.#nextLength(); length !== undefined && this.#bytes >= length; length = this.#nextLength()) {
      const all = this.#join();
      frames.push(all.subarray(lengthBytes, length));
      this.#chunks = [all.subarray(length)];
      this.#bytes -= length;
    }
    return frames;
  }

  #nextLength(): number | undefined {
    if (this.#bytes < lengthBytes) return undefined;
    const [first] = this.#chunks;
    const length = (first !== undefined && first.length >= lengthBytes ? first : this.#join()).readUInt32BE();
    if (length < lengthBytes + headerBytes || length > maxFrameBytes) throw malformed(`a frame of ${length} bytes`);
    return length;
  }

  #join(): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && this.#chunks.length === 1) return first;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }
}
