/** JSON schemas of what clients send. The compiler checks that each names exactly the properties of its wire type. */
import type {
  AttachBody,
  AttachDiskBody,
  BlockCommitBody,
  BlockCopyBody,
  BlockJobEndBody,
  BlockPullBody,
  BlockResizeBody,
  CloneBody,
  DefineBody,
  DeviceScope,
  EndMirrorsBody,
  FreezeBody,
  MigrateBody,
  RecoverBody,
  RenameBody,
  RestoreBody,
  SaveBody,
  ShutdownBody,
  SnapshotCreateBody,
  SnapshotDeleteBody,
  SnapshotFilter,
  SnapshotRevertBody,
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
export const recoverBodySchema = objectSchema<RecoverBody>([], { domain: text });
export const attachBodySchema = objectSchema<AttachBody>(["qmp"], { qmp: text, name: text });
export const shutdownBodySchema = optional(
  objectSchema<ShutdownBody>([], {
    modes: { type: "array", items: { type: "string", enum: ["acpi", "agent"] }, minItems: 1, maxItems: 2 },
  }),
);
const savedProperties = { file: text, running: flag, paused: flag, xml: text };
export const saveBodySchema = objectSchema<SaveBody>(["file"], savedProperties);
export const restoreBodySchema = objectSchema<RestoreBody>(["file"], savedProperties);
export const freezeBodySchema = optional(objectSchema<FreezeBody>([], { mountpoints: { ...texts, minItems: 1 } }));
export const renameBodySchema = objectSchema<RenameBody>(["newName"], { newName: text });
export const attachDiskBodySchema = objectSchema<AttachDiskBody>(["xml"], {
  xml: text,
  live: flag,
  config: flag,
  persistent: flag,
});

export const blockCopyBodySchema = objectSchema<BlockCopyBody>(["dest"], {
  dest: text,
  destType: { type: "string", enum: ["file", "block"] },
  format: { type: "string", enum: ["qcow2", "raw"] },
  shallow: flag,
  reuseExternal: flag,
  bytesPerS: speed,
});
export const blockCommitBodySchema = optional(
  objectSchema<BlockCommitBody>([], { base: text, shallow: flag, top: text, bytesPerS: speed }),
);
export const blockPullBodySchema = optional(objectSchema<BlockPullBody>([], { base: text, bytesPerS: speed }));
export const blockJobEndBodySchema = optional(objectSchema<BlockJobEndBody>([], { pivot: flag }));
export const blockResizeBodySchema = objectSchema<BlockResizeBody>(["sizeBytes"], {
  sizeBytes: { ...speed, minimum: 1 },
});

export const snapshotCreateBodySchema = objectSchema<SnapshotCreateBody>([], {
  xml: text,
  name: text,
  description: anyText,
  diskspecs: texts,
  memspec: text,
  reuseExternal: flag,
  printXml: flag,
  validate: flag,
  diskOnly: flag,
  quiesce: flag,
  live: flag,
  halt: flag,
  noMetadata: flag,
  redefine: flag,
  current: flag,
  bytesPerS: speed,
});
export const snapshotRevertBodySchema = optional(
  objectSchema<SnapshotRevertBody>([], { running: flag, paused: flag, force: flag }),
);
export const endMirrorsBodySchema = objectSchema<EndMirrorsBody>(["mirror"], {
  mirror: { type: "string", enum: ["pivot", "abort"] },
});
export const currentSnapshotBodySchema = objectSchema<CurrentSnapshotBody>(["name"], { name: text });

const copyProperties = { to: text, disks: { ...texts, minItems: 1 }, flatten: flag, verify: flag, bytesPerS: speed };
export const migrateBodySchema = objectSchema<MigrateBody>(["to"], { ...copyProperties, keepSource: flag });
export const cloneBodySchema = objectSchema<CloneBody>(["to"], copyProperties);
export const speedBodySchema = objectSchema<SpeedBody>(["bytesPerS"], { bytesPerS: speed });

export interface CurrentSnapshotBody {
  readonly name: string;
}

/** What arrives in a query for a wire type whose properties are all booleans. */
export type FlagsQuery<T extends { readonly [K in keyof T]: boolean | undefined }> = {
  readonly [K in keyof T]: "0" | "1";
};
export type SnapshotFilterQuery = FlagsQuery<Omit<SnapshotFilter, "from">> & Pick<SnapshotFilter, "from">;
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
export interface UndefineQuery {
  readonly snapshotsMetadata?: "0" | "1";
}
export const undefineQuerySchema = objectSchema<UndefineQuery>([], { snapshotsMetadata: queryFlag });
export const xmlQuerySchema = objectSchema<XmlQuery>([], { inactive: queryFlag });
export const operationsQuerySchema = objectSchema<OperationsQuery>([], { domain: text, running: queryFlag });
export const eventsQuerySchema = objectSchema<EventsQuery>([], {
  domain: text,
  since: { type: "string", pattern: "^[0-9]{1,15}$" },
});
export const deviceScopeQuerySchema = objectSchema<DeviceScope>([], {
  live: queryFlag,
  config: queryFlag,
  persistent: queryFlag,
});
export const snapshotDeleteQuerySchema = objectSchema<SnapshotDeleteBody>([], {
  children: queryFlag,
  childrenOnly: queryFlag,
  metadataOnly: queryFlag,
});
export const snapshotFilterQuerySchema = objectSchema<SnapshotFilter>([], {
  from: text,
  descendants: queryFlag,
  roots: queryFlag,
  leaves: queryFlag,
  noLeaves: queryFlag,
  metadata: queryFlag,
  noMetadata: queryFlag,
  inactive: queryFlag,
  active: queryFlag,
  diskOnly: queryFlag,
  internal: queryFlag,
  external: queryFlag,
  topological: queryFlag,
});

/** A query's flags as the wire type's booleans; what is absent stays absent. */
export function readFlags<T extends { readonly [K in keyof T]: boolean | undefined }>(query: FlagsQuery<T>): T {
  return Object.fromEntries(Object.entries(query).map(([name, value]) => [name, value === "1"])) as T;
}

/** A body that may be left away: nothing is the same as `{}`. */
function optional(schema: Schema): Schema {
  return { ...schema, nullable: true };
}

function objectSchema<T>(required: readonly RequiredKey<T>[], properties: Readonly<Record<keyof T & string, Schema>>) {
  return { type: "object", additionalProperties: false, required, properties };
}
