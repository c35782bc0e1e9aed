import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FrameCutter, maxFrameBytes } from "../../src/remote/frames.ts";

function frameOf(payload: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(payload.length + 4);
  return Buffer.concat([length, payload]);
}

test("frames come out as they went in, however the stream was cut", () => {
  const payloads = fc.array(fc.uint8Array({ minLength: 24, maxLength: 80 }), { maxLength: 8 });
  fc.assert(
    fc.property(payloads, fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (sent, sizes) => {
      const stream = Buffer.concat(sent.map(frameOf));
      const cutter = new FrameCutter();
      const received: Buffer[] = [];
      for (let at = 0, index = 0; at < stream.length; index += 1) {
        const size = sizes[index % sizes.length] ?? 1;
        received.push(...cutter.push(stream.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(
        received.map((frame) => frame.toString("hex")),
        sent.map((payload) => Buffer.from(payload).toString("hex")),
      );
    }),
  );
});

test("a frame shorter than its header or longer than libvirt's limit is refused by its length alone", () => {
  for (const length of [0, 4, 27, maxFrameBytes + 1, 0xffffffff]) {
    const word = Buffer.alloc(4);
    word.writeUInt32BE(length);
    assert.throws(() => new FrameCutter().push(word), { code: "QM_REMOTE_PROTOCOL" }, String(length));
  }
  const largest = Buffer.alloc(4);
  largest.writeUInt32BE(maxFrameBytes);
  assert.deepEqual(new FrameCutter().push(largest), []);
});
