/** Checks commands against the schema that a real QEMU gave, as that QEMU would have done. */
import { readFileSync } from "node:fs";
import type { RecordedSchema, SchemaEntity, SchemaObject } from "./schema-types.ts";

/** QEMU lets these take a device's own properties, which its schema does not list. */
const openCommands: ReadonlySet<string> = new Set(["device_add"]);

const entitiesOf = new WeakMap<RecordedSchema, ReadonlyMap<string, SchemaEntity>>();

/** The schema recorded by tools/qapi-gen; throws what reading a file throws. */
export function loadSchema(
  path: string | URL = new URL("../qemu/qapi-schema-7.2.json", import.meta.url),
): RecordedSchema {
  return JSON.parse(readFileSync(path, "utf8")) as RecordedSchema;
}

/**
 * What is wrong with a command as `execute` and `arguments` say it, one text for each violation, empty when QEMU would
 * accept its form: unknown command, unknown or missing member, wrong type, value or branch, at any depth. A member that is
 * `undefined` counts as absent, since JSON drops it. Values that only QEMU's code judges (names, sizes) are not checked.
 */
export function checkCommand(schema: RecordedSchema, command: string, args: unknown): string[] {
  let entities = entitiesOf.get(schema);
  if (entities === undefined) {
    entities = new Map(schema.schema.map((entity) => [entity.name, entity]));
    entitiesOf.set(schema, entities);
  }
  const entity = entities.get(command);
  if (entity?.["meta-type"] !== "command") return [`${command}: unknown command`];
  const check = new Check(entities);
  check.value(entity["arg-type"], args ?? {}, command, openCommands.has(command));
  return check.violations;
}

class Check {
  readonly violations: string[] = [];
  readonly #entities: ReadonlyMap<string, SchemaEntity>;

  constructor(entities: ReadonlyMap<string, SchemaEntity>) {
    this.#entities = entities;
  }

  value(type: string, value: unknown, path: string, open = false): void {
    const entity = this.#entities.get(type);
    switch (entity?.["meta-type"]) {
      case "object":
        if (isObject(value)) this.#members(entity, value, path, open);
        else this.#wrongType(path, "an object", value);
        return;
      case "array":
        if (!Array.isArray(value)) this.#wrongType(path, "an array", value);
        else value.forEach((element, index) => this.value(entity["element-type"], element, `${path}[${index}]`));
        return;
      case "enum":
        if (typeof value !== "string") this.#wrongType(path, "a string", value);
        else if (!entity.values.includes(value)) this.violations.push(`${path}: '${value}' is not a value of its enum`);
        return;
      case "alternate": {
        const branch = entity.members.find((member) => this.#accepts(member.type, value));
        if (branch === undefined) this.#wrongType(path, "any of its alternatives", value);
        else this.value(branch.type, value, path);
        return;
      }
      case "builtin":
        if (!this.#accepts(type, value)) this.#wrongType(path, entity["json-type"], value);
        return;
      default:
        throw new Error(`the schema has no type '${type}'`);
    }
  }

  #members(type: SchemaObject, value: Record<string, unknown>, path: string, open: boolean): void {
    const known = new Set<string>();
    let union: SchemaObject | undefined = type;
    while (union !== undefined) {
      for (const member of union.members) {
        known.add(member.name);
        const given = value[member.name];
        if (given !== undefined) this.value(member.type, given, `${path}.${member.name}`);
        else if (!("default" in member)) this.violations.push(`${path}.${member.name}: missing`);
      }
      if (union.tag === undefined) break;
      const tag: unknown = value[union.tag];
      const branch = union.variants?.find((variant) => variant.case === tag);
      // A wrong tag was reported with its member; which other members belong here cannot be told.
      if (branch === undefined) return;
      const entity = this.#entities.get(branch.type);
      union = entity?.["meta-type"] === "object" ? entity : undefined;
    }
    if (open) return;
    for (const [name, given] of Object.entries(value)) {
      if (given !== undefined && !known.has(name)) this.violations.push(`${path}.${name}: unknown member`);
    }
  }

  /** Whether the JSON type fits, which is how QEMU chooses among alternatives. */
  #accepts(type: string, value: unknown): boolean {
    const entity = this.#entities.get(type);
    switch (entity?.["meta-type"]) {
      case "object":
        return isObject(value);
      case "array":
        return Array.isArray(value);
      case "enum":
        return typeof value === "string";
      case "builtin":
        if (entity["json-type"] === "value") return true;
        if (entity["json-type"] === "null") return value === null;
        if (entity["json-type"] === "int") return Number.isInteger(value);
        return typeof value === entity["json-type"];
      default:
        return false;
    }
  }

  #wrongType(path: string, wanted: string, value: unknown): void {
    this.violations.push(`${path}: ${JSON.stringify(value)} is not ${wanted}`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
