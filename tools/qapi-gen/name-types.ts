/** Which types of the schema get a name of their own, and which. */
import type { SchemaArray, SchemaEntity, SchemaObject, SchemaType } from "../../src/testing/schema-types.ts";

export interface Wishes {
  readonly commands: readonly string[];
  readonly events: readonly string[];
  readonly drivers: readonly string[];
  readonly openCommands: readonly string[];
  readonly typeNames: Readonly<Record<string, string>>;
}

/** Larger types get a name of their own, smaller ones stand where they are used. */
const inlineLimit = 4;

/** Chooses the types that get a name, and the names: breadth first, so that the shortest path to a type names it. */
export function nameTypes(
  entities: ReadonlyMap<string, SchemaEntity>,
  roots: readonly SchemaEntity[],
  wishes: Wishes,
): Map<string, string> {
  const uses = new Map<string, number>();
  const paths: [type: string, suggestion: string][] = roots.flatMap((root): [string, string][] => {
    const base = pascalCase(root.name);
    if (root["meta-type"] === "event") return [[root["arg-type"], `${base}Data`]];
    if (root["meta-type"] !== "command") return [];
    return [
      [root["arg-type"], `${base}Args`],
      [root["ret-type"], `${base}Result`],
    ];
  });
  const suggestions = new Map<string, string>();
  const unusedNames = new Set(Object.keys(wishes.typeNames));
  for (let step = paths.shift(); step !== undefined; step = paths.shift()) {
    const [type, suggestion] = step;
    uses.set(type, (uses.get(type) ?? 0) + 1);
    if (suggestions.has(type)) continue;
    const chosen = wishes.typeNames[suggestion] ?? suggestion;
    unusedNames.delete(suggestion);
    suggestions.set(type, chosen);
    paths.push(...childrenOf(entities, typeNamed(entities, type), chosen, wishes.drivers));
  }
  if (unusedNames.size > 0) throw new Error(`names for no type: ${[...unusedNames].join(", ")}`);

  const named = new Map<string, string>();
  const taken = new Set<string>();
  const renamed = new Set(Object.values(wishes.typeNames));
  for (const [type, name] of suggestions) {
    const definition = typeNamed(entities, type);
    if (definition["meta-type"] === "array") continue;
    if (!deservesName(definition, uses.get(type) ?? 0) && !renamed.has(name)) continue;
    if (taken.has(name)) throw new Error(`two types want the name ${name}`);
    taken.add(name);
    named.set(type, name);
  }
  return named;
}

function deservesName(type: Exclude<SchemaType, SchemaArray>, uses: number): boolean {
  switch (type["meta-type"]) {
    case "object":
      if (isEmpty(type)) return false;
      return uses > 1 || type.variants !== undefined || type.members.length > inlineLimit;
    case "enum":
      return uses > 1 || type.values.length > inlineLimit;
    case "alternate":
      return uses > 1;
    case "builtin":
      return false;
  }
}

function childrenOf(
  entities: ReadonlyMap<string, SchemaEntity>,
  type: SchemaType,
  name: string,
  drivers: readonly string[],
): [type: string, suggestion: string][] {
  switch (type["meta-type"]) {
    case "object": {
      // A tag is written as the literals of its branches; its own type shows only where branches are left out.
      const shown = type.members.filter((m) => m.name !== type.tag || type.tag === "driver");
      const members = shown.map((m): [string, string] => [m.type, name + pascalCase(m.name)]);
      const branches = wantedVariants(type, drivers).map((v): [string, string] => [v.type, name + pascalCase(v.case)]);
      return [...members, ...branches];
    }
    case "array":
      return [[type["element-type"], name]];
    case "alternate":
      return type.members.map(({ type: member }) => [
        member,
        name + pascalCase(typeNamed(entities, member)["meta-type"]),
      ]);
    case "enum":
    case "builtin":
      return [];
  }
}

export function wantedVariants(type: SchemaObject, drivers: readonly string[]): NonNullable<SchemaObject["variants"]> {
  const variants = type.variants ?? [];
  return type.tag === "driver" ? variants.filter((variant) => drivers.includes(variant.case)) : variants;
}

export function typeNamed(entities: ReadonlyMap<string, SchemaEntity>, name: string): SchemaType {
  const entity = entities.get(name);
  if (entity === undefined || entity["meta-type"] === "command" || entity["meta-type"] === "event") {
    throw new Error(`the schema has no type '${name}'`);
  }
  return entity;
}

export function isEmpty(type: SchemaType): boolean {
  return type["meta-type"] === "object" && type.members.length === 0 && type.variants === undefined;
}

function pascalCase(name: string): string {
  const words = name.split(/[^a-zA-Z0-9]+/).filter((word) => word !== "");
  return words.map((word) => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase()).join("");
}
