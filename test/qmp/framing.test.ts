import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { isQmError } from "../../src/base/errors.ts";
import { LineDecoder, parseObject } from "../../src/qmp/framing.ts";

function cut(bytes: Uint8Array, positions: readonly number[]): Uint8Array[] {
  const ends = [...positions.map((position) => position % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, index) => bytes.slice(ends[index - 1] ?? 0, end));
}

test("any chunking of a stream gives the same messages", () => {
  const messages = fc.array(fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue()), { maxLength: 8 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat(), { maxLength: 40 }), (sent, positions) => {
      const bytes = Buffer.from(sent.map((message) => JSON.stringify(message) + "\r\n").join(""));
      const decoder = new LineDecoder(1 << 20);
      const received = cut(bytes, positions).flatMap((chunk) => [...decoder.push(chunk)].map(parseObject));
      assert.deepEqual(
        received,
        sent.map((message) => parseObject(JSON.stringify(message))),
      );
      assert.equal(decoder.isMidLine, false);
    }),
  );
});

test("a line of the longest size passes, one more byte does not", () => {
  assert.deepEqual([...new LineDecoder(4).push(Buffer.from("abcd\n"))], ["abcd"]);
  const decoder = new LineDecoder(4);
  assert.deepEqual([...decoder.push(Buffer.from("abc"))], []);
  assert.throws(() => [...decoder.push(Buffer.from("de"))], /more than 4 bytes/);
});

test("what is not UTF-8 or not an object is a protocol error", () => {
  const isProtocolError = (error: unknown) => isQmError(error, "QM_QMP_PROTOCOL");
  assert.throws(() => [...new LineDecoder(99).push(Buffer.from([0x22, 0xc3, 0x22, 0x0a]))], isProtocolError);
  for (const line of ["", "garbage", "[]", "null", "1", '{"a":']) {
    assert.throws(() => parseObject(line), isProtocolError, line);
  }
});
