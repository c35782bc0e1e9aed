import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import * as xdr from "../../../src/remote/xdr/index.ts";
import { domain, param, wireError, type ParamValue } from "../../../src/remote/protocol/index.ts";

const { XdrReader, XdrWriter } = xdr;

function encode<T>(codec: xdr.Codec<T>, value: T): Buffer {
  const writer = new XdrWriter();
  codec.encode(writer, value);
  return writer.finish();
}

function decode<T>(codec: xdr.Codec<T>, bytes: Buffer): T {
  const reader = new XdrReader(bytes);
  const value = codec.decode(reader);
  reader.assertEnd();
  return value;
}

const int = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const uint = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const hyper = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const uhyper = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const text = fc.string({ unit: "grapheme" });
const wireDomain = fc.record({ name: text, uuid: fc.uuid(), id: int }, { noNullPrototype: true });
const paramValue: fc.Arbitrary<ParamValue> = fc.oneof(
  fc.record({ type: fc.constant("int" as const), value: int }, { noNullPrototype: true }),
  fc.record({ type: fc.constant("uint" as const), value: uint }, { noNullPrototype: true }),
  fc.record({ type: fc.constant("llong" as const), value: hyper }, { noNullPrototype: true }),
  fc.record({ type: fc.constant("ullong" as const), value: uhyper }, { noNullPrototype: true }),
  fc.record({ type: fc.constant("double" as const), value: fc.double() }, { noNullPrototype: true }),
  fc.record({ type: fc.constant("boolean" as const), value: fc.boolean() }, { noNullPrototype: true }),
  fc.record({ type: fc.constant("string" as const), value: text }, { noNullPrototype: true }),
);

const sampleCodec = xdr.struct({
  ...{ int: xdr.int, uint: xdr.uint, hyper: xdr.hyper, uhyper: xdr.uhyper, double: xdr.double, truth: xdr.truth },
  text: xdr.optional(xdr.string),
  domains: xdr.list(domain, 10),
  params: xdr.list(param, 10),
  flags: xdr.flagSet({ first: 1 << 0, last: (1 << 31) >>> 0 }),
});
const sample = fc.record(
  {
    ...{ int, uint, hyper, uhyper, double: fc.double(), truth: fc.boolean() },
    text: fc.option(text),
    domains: fc.array(wireDomain, { maxLength: 10 }),
    params: fc.array(fc.record({ name: text, value: paramValue }, { noNullPrototype: true }), { maxLength: 10 }),
    flags: fc.record({ first: fc.boolean(), last: fc.boolean() }, { noNullPrototype: true }),
  },
  { noNullPrototype: true },
);

test("whatever is written is read again, and takes a multiple of four bytes", () => {
  fc.assert(
    fc.property(sample, (value) => {
      const bytes = encode(sampleCodec, value);
      assert.equal(bytes.length % 4, 0);
      assert.ok(bytes.length >= sampleCodec.minBytes);
      assert.deepEqual(decode(sampleCodec, bytes), value);
    }),
  );
});

test("whatever is cut off or lengthened is refused", () => {
  fc.assert(
    fc.property(sample, fc.nat(), (value, at) => {
      const bytes = encode(sampleCodec, value);
      const cut = bytes.subarray(0, at % bytes.length);
      assert.throws(() => decode(sampleCodec, cut), { code: "QM_REMOTE_PROTOCOL" });
      assert.throws(() => decode(sampleCodec, Buffer.concat([bytes, Buffer.alloc(4)])), { code: "QM_REMOTE_PROTOCOL" });
    }),
  );
});

test("any bytes are read or refused, never more", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const codec of [sampleCodec, wireError]) {
        try {
          decode(codec as xdr.Codec<unknown>, Buffer.from(bytes));
        } catch (error) {
          assert.ok(error instanceof Error && "code" in error);
          assert.match(String(error.code), /^QM_(REMOTE_PROTOCOL|INVALID)$/);
        }
      }
    }),
  );
});

test("the layout is XDR's", () => {
  assert.equal(encode(xdr.string, "abcde").toString("hex"), "0000000561626364" + "65000000");
  assert.equal(encode(xdr.optional(xdr.int), -2).toString("hex"), "00000001fffffffe");
  assert.equal(encode(xdr.optional(xdr.int), null).toString("hex"), "00000000");
  const uuid = "00112233-4455-6677-8899-aabbccddeeff";
  assert.equal(encode(xdr.uuid, uuid).toString("hex"), uuid.replaceAll("-", ""));
  assert.equal(encode(xdr.charArray(3), "abcd").toString("hex"), "000000610000006200000000");
});

test("lengths are checked before anything is made of them", () => {
  const huge = Buffer.from("7fffffff", "hex");
  for (const codec of [xdr.string, xdr.list(xdr.int, 2 ** 31), xdr.list(domain, 2 ** 31)]) {
    assert.throws(() => codec.decode(new XdrReader(huge)), { code: "QM_REMOTE_PROTOCOL" });
  }
  const three = encode(xdr.list(xdr.int, 3), [1, 2, 3]);
  assert.throws(() => decode(xdr.list(xdr.int, 2), three), /a length of 3 exceeds 2/);
  assert.throws(() => encode(xdr.list(xdr.int, 2), [1, 2, 3]), { code: "QM_INTERNAL" });
});

test("text that is not UTF-8, and padding that is not zero, are refused", () => {
  assert.throws(() => decode(xdr.string, Buffer.from("00000002c3280000", "hex")), /not UTF-8/);
  assert.throws(() => decode(xdr.string, Buffer.from("0000000161000001", "hex")), /padding is not zero/);
  assert.throws(() => decode(xdr.optional(xdr.int), Buffer.from("0000000200000000", "hex")), /2 is no boolean/);
});

test("unknown flags are refused with libvirt's code for an invalid argument", () => {
  const codec = xdr.flagSet({ a: 1, b: 4 });
  assert.deepEqual(decode(codec, encode(xdr.uint, 5)), { a: true, b: true });
  assert.throws(() => decode(codec, encode(xdr.uint, 0x80000001)), {
    code: "QM_INVALID",
    message: "invalid argument: unsupported flags (0x80000000)",
  });
  assert.throws(() => decode(xdr.flagBits(2), encode(xdr.uint, 4)), { code: "QM_INVALID" });
  assert.equal(decode(xdr.flagBits(32), encode(xdr.uint, 0xffffffff)), 0xffffffff);
});
