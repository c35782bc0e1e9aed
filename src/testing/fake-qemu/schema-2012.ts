/**
 * The arguments of the monitor commands of 2012 that the mirror dialects use, and the check that QEMU made of them. The new
 * commands carry a prefix in RHEL 6.3 (`__com.redhat_`) and none in the proposal for QEMU 1.1.
 */
import { FakeQmpError } from "./qmp-error.ts";

type ArgumentType = "str" | "int" | "bool" | "list" | readonly string[];

export interface ArgumentSchema {
  readonly type: ArgumentType;
  readonly optional?: true;
}

export type ArgumentsSchema = Readonly<Record<string, ArgumentSchema>>;

export interface Schema2012 {
  readonly commands: Readonly<Record<string, ArgumentsSchema>>;
  /** `data` of a `transaction` action, by its `type`. */
  readonly actions: Readonly<Record<string, ArgumentsSchema>>;
}

const newImageMode: ArgumentSchema = { type: ["existing", "absolute-paths", "no-backing-file"], optional: true };
const optionalStr: ArgumentSchema = { type: "str", optional: true };

const snapshotArguments: ArgumentsSchema = {
  device: { type: "str" },
  "snapshot-file": { type: "str" },
  format: optionalStr,
  mode: newImageMode,
};

const mirrorArguments: ArgumentsSchema = {
  device: { type: "str" },
  target: { type: "str" },
  full: { type: "bool" },
  format: optionalStr,
  mode: newImageMode,
};

export function schema2012(prefix: "" | "__com.redhat_"): Schema2012 {
  return {
    commands: {
      qmp_capabilities: {},
      "query-block": {},
      "query-block-jobs": {},
      "query-commands": {},
      "query-name": {},
      "query-status": {},
      "query-uuid": {},
      "query-version": {},
      stop: {},
      cont: {},
      quit: {},
      transaction: { actions: { type: "list" } },
      "blockdev-snapshot-sync": snapshotArguments,
      [`${prefix}drive-mirror`]: { ...mirrorArguments, speed: { type: "int", optional: true } },
      [`${prefix}drive-reopen`]: {
        device: { type: "str" },
        "new-image-file": { type: "str" },
        format: optionalStr,
        witness: optionalStr,
      },
    },
    actions: {
      "blockdev-snapshot-sync": snapshotArguments,
      [`${prefix}drive-mirror`]: mirrorArguments,
    },
  };
}

/** Throws the `FakeQmpError` of the first thing that is wrong: an unknown or missing member, a wrong type or value. */
export function checkArguments(schema: ArgumentsSchema, args: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys(args)) {
    if (!Object.hasOwn(schema, name)) {
      throw new FakeQmpError("InvalidParameter", `Invalid parameter '${name}'`, { name });
    }
  }
  for (const [name, { type, optional }] of Object.entries(schema)) {
    const value = args[name];
    if (value === undefined) {
      if (optional === true) continue;
      throw new FakeQmpError("MissingParameter", `Parameter '${name}' is missing`, { name });
    }
    checkValue(name, type, value);
  }
}

function checkValue(name: string, type: ArgumentType, value: unknown): void {
  if (typeof type !== "string") {
    if (typeof value !== "string") throw wrongType(name, "string");
    if (!type.includes(value)) {
      throw new FakeQmpError("InvalidParameter", `Invalid parameter '${value}'`, { name: value });
    }
  } else if (type === "list") {
    if (!Array.isArray(value)) throw wrongType(name, "list");
  } else if (type === "int") {
    if (!Number.isInteger(value)) throw wrongType(name, "integer");
  } else if (type === "bool") {
    if (typeof value !== "boolean") throw wrongType(name, "boolean");
  } else if (typeof value !== "string") throw wrongType(name, "string");
}

function wrongType(name: string, expected: string): FakeQmpError {
  return new FakeQmpError("InvalidParameterType", `Invalid parameter type for '${name}', expected: ${expected}`, {
    name,
    expected,
  });
}
