/** Requests whose options exclude or need each other: the rules are tables, so that they can be listed and tested. */
import { QmError } from "./errors.ts";

/** Words are property names of the request `T`. An option counts as given unless it is undefined or false. */
export interface ConflictRules<T> {
  /** Of each group at most one may be given. */
  readonly exclusive?: readonly (readonly (keyof T & string)[])[];
  /** An option, and those of which it needs one. */
  readonly requires?: { readonly [K in keyof T & string]?: readonly (keyof T & string)[] };
}

/** Throws `QM_INVALID` for the first rule that `request` breaks, naming both options. */
export function refuseConflicts<T extends object>(request: T, rules: ConflictRules<T>): void {
  const isGiven = (name: keyof T & string) => request[name] !== undefined && request[name] !== false;
  for (const group of rules.exclusive ?? []) {
    const [first, second] = group.filter(isGiven);
    if (first !== undefined && second !== undefined) {
      throw new QmError("QM_INVALID", { reason: `'${first}' and '${second}' are mutually exclusive` });
    }
  }
  for (const name of Object.keys(rules.requires ?? {}) as (keyof T & string)[]) {
    const needed = rules.requires?.[name] ?? [];
    if (isGiven(name) && !needed.some(isGiven)) {
      const words = needed.map((word) => `'${word}'`).join(" or ");
      throw new QmError("QM_INVALID", { reason: `'${name}' requires ${words}` });
    }
  }
}
