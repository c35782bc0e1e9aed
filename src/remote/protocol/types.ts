/** Types that several procedures use. */
import {
  double,
  hyper,
  int,
  list,
  malformed,
  optional,
  string,
  struct,
  uhyper,
  uint,
  uuid,
  type Codec,
  type ValueOf,
} from "../xdr/index.ts";

/** Longest list of domains, snapshots and what else a host has many of. */
export const maxListItems = 16_384;

/** `id` is -1 while it does not run. */
export const domain = struct({ name: string, uuid, id: int });
export type WireDomain = ValueOf<typeof domain>;

export const snapshot = struct({ name: string, domain });
export type WireSnapshot = ValueOf<typeof snapshot>;

const network = struct({ name: string, uuid });

/** `message` is what virsh shows; `code` and `origin` are libvirt's virErrorNumber and virErrorDomain. */
export const wireError = struct({
  code: int,
  origin: int,
  message: optional(string),
  level: int,
  domain: optional(domain),
  str1: optional(string),
  str2: optional(string),
  str3: optional(string),
  int1: int,
  int2: int,
  network: optional(network),
});
export type WireError = ValueOf<typeof wireError>;

/** A value of a named parameter, with its type. */
export type ParamValue =
  | { readonly type: "int" | "uint" | "double"; readonly value: number }
  | { readonly type: "llong" | "ullong"; readonly value: bigint }
  | { readonly type: "boolean"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string };

const paramTypes = ["int", "uint", "llong", "ullong", "double", "boolean", "string"] as const;

const paramValue: Codec<ParamValue> = {
  minBytes: 8,
  decode(reader) {
    const number = reader.readInt();
    // Numbers begin at 1.
    const type = paramTypes[number - 1];
    if (type === undefined) throw malformed(`${number} is no type of a parameter`);
    switch (type) {
      case "int":
        return { type, value: reader.readInt() };
      case "uint":
        return { type, value: reader.readUint() };
      case "llong":
        return { type, value: reader.readHyper() };
      case "ullong":
        return { type, value: reader.readUhyper() };
      case "double":
        return { type, value: reader.readDouble() };
      case "boolean":
        return { type, value: reader.readInt() !== 0 };
      case "string":
        return { type, value: string.decode(reader) };
    }
  },
  encode(writer, param) {
    writer.writeInt(paramTypes.indexOf(param.type) + 1);
    switch (param.type) {
      case "int":
        return int.encode(writer, param.value);
      case "uint":
        return uint.encode(writer, param.value);
      case "llong":
        return hyper.encode(writer, param.value);
      case "ullong":
        return uhyper.encode(writer, param.value);
      case "double":
        return double.encode(writer, param.value);
      case "boolean":
        return writer.writeInt(param.value ? 1 : 0);
      case "string":
        return writer.writeString(param.value);
    }
  },
};

export const param = struct({ name: string, value: paramValue });
export type Param = ValueOf<typeof param>;

export const params = (max: number): Codec<readonly Param[]> => list(param, max);

/** Which definition a call is about; none: the running domain's when it runs. */
export const scopeFlags = { live: 1 << 0, config: 1 << 1 } as const;
