/** JSON schemas of what clients send. The compiler checks that each names exactly the properties of its wire type. */
import type {
  AttachBody,
  CloneBody,
  DefineBody,
  MigrateBody,
  SnapshotCreateBody,
  SnapshotDeleteBody,
  SpeedBody,
} from "../api-types/index.ts";

type RequiredKey<T> = { [K in keyof T]-?: undefined extends T[K] ? never : K }[keyof T] & string;
type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: "string", minLength: 1 };
const anyText: Schema = { type: "string" };
const flag: Schema = { type: "boolean" };
const texts: Schema = { type: "array", items: text, maxItems: 256 };
const speed: Schema = { type: "integer", minimum: 0, maximum: Number.MAX_SAFE_INTEGER };
/** Queries have no booleans: `1` and `0`. */
const queryFlag: Schema = { type: "string", enum: ["0", "1"] };

export const defineBodySchema = objectSchema<DefineBody>(["xml"], { xml: text });
export const attachBodySchema = objectSchema<AttachBody>(["qmp"], { qmp: text, name: text });
export const snapshotCreateBodySchema = objectSchema<SnapshotCreateBody>([], {
  xml: text,
  name: text,
  description: anyText,
  diskspecs: texts,
  reuseExternal: flag,
  printXml: flag,
  bytesPerS: speed,
});
export const snapshotDeleteBodySchema = objectSchema<SnapshotDeleteBody>(["mirror"], {
  mirror: { type: "string", enum: ["pivot", "abort"] },
});
const copyProperties = { to: text, disks: { ...texts, minItems: 1 }, flatten: flag, verify: flag, bytesPerS: speed };
export const migrateBodySchema = objectSchema<MigrateBody>(["to"], { ...copyProperties, keepSource: flag });
export const cloneBodySchema = objectSchema<CloneBody>(["to"], copyProperties);
export const speedBodySchema = objectSchema<SpeedBody>(["bytesPerS"], { bytesPerS: speed });

export interface XmlQuery {
  readonly inactive?: "0" | "1";
}
export interface OperationsQuery {
  readonly domain?: string;
  readonly running?: "0" | "1";
}
export interface EventsQuery {
  readonly domain?: string;
  readonly since?: string;
}
export const xmlQuerySchema = objectSchema<XmlQuery>([], { inactive: queryFlag });
export const operationsQuerySchema = objectSchema<OperationsQuery>([], { domain: text, running: queryFlag });
export const eventsQuerySchema = objectSchema<EventsQuery>([], {
  domain: text,
  since: { type: "string", pattern: "^[0-9]{1,15}$" },
});

function objectSchema<T>(required: readonly RequiredKey<T>[], properties: Readonly<Record<keyof T & string, Schema>>) {
  return { type: "object", additionalProperties: false, required, properties };
}
