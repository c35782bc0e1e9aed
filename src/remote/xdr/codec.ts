/** Descriptions of XDR types: what reads and writes them, and what TypeScript infers their values to be. */
import { QmError } from "../../base/errors.ts";
import { malformed, type XdrReader } from "./reader.ts";
import type { XdrWriter } from "./writer.ts";

export interface Codec<T> {
  /** Least number of bytes that a value takes: bounds how many of them a message can hold. */
  readonly minBytes: number;
  /** Throws `QM_REMOTE_PROTOCOL`; of `flagSet` also `QM_INVALID`. */
  decode(reader: XdrReader): T;
  encode(writer: XdrWriter, value: T): void;
}

/** The values of a codec. */
export type ValueOf<C> = C extends Codec<infer T> ? T : never;

export const maxStringBytes = 4 * 1024 * 1024;

export const int: Codec<number> = {
  minBytes: 4,
  decode: (reader) => reader.readInt(),
  encode: (writer, value) => writer.writeInt(value),
};

export const uint: Codec<number> = {
  minBytes: 4,
  decode: (reader) => reader.readUint(),
  encode: (writer, value) => writer.writeUint(value),
};

export const hyper: Codec<bigint> = {
  minBytes: 8,
  decode: (reader) => reader.readHyper(),
  encode: (writer, value) => writer.writeHyper(value),
};

export const uhyper: Codec<bigint> = {
  minBytes: 8,
  decode: (reader) => reader.readUhyper(),
  encode: (writer, value) => writer.writeUhyper(value),
};

export const double: Codec<number> = {
  minBytes: 8,
  decode: (reader) => reader.readDouble(),
  encode: (writer, value) => writer.writeDouble(value),
};

/** An `int` of C that says yes or no. */
export const truth: Codec<boolean> = {
  minBytes: 4,
  decode: (reader) => reader.readInt() !== 0,
  encode: (writer, value) => writer.writeInt(value ? 1 : 0),
};

export const string: Codec<string> = {
  minBytes: 4,
  decode: (reader) => reader.readString(maxStringBytes),
  encode: (writer, value) => writer.writeString(value),
};

/** A uuid in its usual text form; sixteen bytes on the wire. */
export const uuid: Codec<string> = {
  minBytes: 16,
  decode(reader) {
    const hex = reader.readFixed(16).toString("hex");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  },
  encode: (writer, value) => writer.writeFixed(Buffer.from(value.replaceAll("-", ""), "hex")),
};

/** A pointer of C. */
export function optional<T>(codec: Codec<T>): Codec<T | null> {
  return {
    minBytes: 4,
    decode(reader) {
      const present = reader.readUint();
      if (present > 1) throw malformed(`${present} is no boolean`);
      return present === 1 ? codec.decode(reader) : null;
    },
    encode(writer, value) {
      writer.writeUint(value === null ? 0 : 1);
      if (value !== null) codec.encode(writer, value);
    },
  };
}

/** Up to `max` items after their number. Throws `QM_INTERNAL` when more are to be sent. */
export function list<T>(codec: Codec<T>, max: number): Codec<readonly T[]> {
  return {
    minBytes: 4,
    decode: (reader) => Array.from({ length: reader.readCount(max, codec.minBytes) }, () => codec.decode(reader)),
    encode(writer, values) {
      if (values.length > max) {
        throw new QmError("QM_INTERNAL", { reason: `${values.length} items are more than the ${max} of the protocol` });
      }
      writer.writeUint(values.length);
      for (const value of values) codec.encode(writer, value);
    },
  };
}

/** A `char[length]` of C: each character is a whole XDR integer. Text beyond the length is cut off. */
export function charArray(length: number): Codec<string> {
  return {
    minBytes: 4 * length,
    decode(reader) {
      const bytes = Array.from({ length }, () => reader.readInt() & 0xff);
      const end = bytes.indexOf(0);
      return Buffer.from(end === -1 ? bytes : bytes.slice(0, end)).toString("latin1");
    },
    encode(writer, value) {
      const bytes = Buffer.from(value, "latin1").subarray(0, length - 1);
      for (let index = 0; index < length; index++) writer.writeInt(bytes[index] ?? 0);
    },
  };
}

/** Flags that need no name, all below 1 << `count`. Others are refused as by `flagSet`. */
export function flagBits(count: number): Codec<number> {
  const known = 2 ** count - 1;
  return {
    minBytes: 4,
    decode: (reader) => readFlags(reader, known),
    encode: (writer, value) => writer.writeUint(value),
  };
}

function readFlags(reader: XdrReader, known: number): number {
  const value = reader.readUint();
  const unknown = (value & ~known) >>> 0;
  if (unknown !== 0) throw new QmError("QM_INVALID", { reason: `unsupported flags (0x${unknown.toString(16)})` });
  return value;
}

/** Flags by their names. Bits without a name are refused (`QM_INVALID`, libvirt's 8): nobody may think that they were honoured. */
export function flagSet<const N extends string = never>(
  names: Readonly<Record<N, number>> = {} as Readonly<Record<N, number>>,
): Codec<Readonly<Record<N, boolean>>> {
  const bits = Object.entries(names) as [N, number][];
  const known = bits.reduce((all, [, bit]) => (all | bit) >>> 0, 0);
  return {
    minBytes: 4,
    decode(reader) {
      const value = readFlags(reader, known);
      return Object.fromEntries(bits.map(([name, bit]) => [name, (value & bit) !== 0])) as Record<N, boolean>;
    },
    encode(writer, value) {
      writer.writeUint(bits.reduce((all, [name, bit]) => (value[name] ? (all | bit) >>> 0 : all), 0));
    },
  };
}

/** Fields in their order. */
export function struct<F extends Readonly<Record<string, Codec<unknown>>>>(
  fields: F,
): Codec<{ readonly [K in keyof F]: ValueOf<F[K]> }> {
  type Value = { readonly [K in keyof F]: ValueOf<F[K]> };
  const entries = Object.entries(fields);
  return {
    minBytes: entries.reduce((sum, [, codec]) => sum + codec.minBytes, 0),
    decode: (reader) => Object.fromEntries(entries.map(([name, codec]) => [name, codec.decode(reader)])) as Value,
    encode(writer, value) {
      for (const [name, codec] of entries) codec.encode(writer, value[name]);
    },
  };
}
