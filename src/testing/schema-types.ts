/** The answer of `query-qmp-schema`, as docs/devel/qapi-code-gen of QEMU describes it ("Client JSON Protocol introspection"). */

export interface SchemaMember {
  readonly name: string;
  readonly type: string;
  /** Present: the member is optional. */
  readonly default?: unknown;
  readonly features?: readonly string[];
}

export interface SchemaObject {
  readonly "meta-type": "object";
  readonly name: string;
  readonly members: readonly SchemaMember[];
  readonly tag?: string;
  readonly variants?: readonly { readonly case: string; readonly type: string }[];
}

export interface SchemaEnum {
  readonly "meta-type": "enum";
  readonly name: string;
  readonly values: readonly string[];
}

export interface SchemaAlternate {
  readonly "meta-type": "alternate";
  readonly name: string;
  readonly members: readonly { readonly type: string }[];
}

export interface SchemaArray {
  readonly "meta-type": "array";
  readonly name: string;
  readonly "element-type": string;
}

export interface SchemaBuiltin {
  readonly "meta-type": "builtin";
  readonly name: string;
  readonly "json-type": "string" | "number" | "int" | "boolean" | "null" | "object" | "array" | "value";
}

export interface SchemaCommand {
  readonly "meta-type": "command";
  readonly name: string;
  readonly "arg-type": string;
  readonly "ret-type": string;
  readonly "allow-oob"?: boolean;
  readonly features?: readonly string[];
}

export interface SchemaEvent {
  readonly "meta-type": "event";
  readonly name: string;
  readonly "arg-type": string;
  readonly features?: readonly string[];
}

export type SchemaType = SchemaObject | SchemaEnum | SchemaAlternate | SchemaArray | SchemaBuiltin;
export type SchemaEntity = SchemaType | SchemaCommand | SchemaEvent;

/** The recorded file: which QEMU said it, and what it said. */
export interface RecordedSchema {
  readonly version: string;
  readonly schema: readonly SchemaEntity[];
}
