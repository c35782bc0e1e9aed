/** Which options of a command exclude or need each other: tables, checked before the command acts. */
import type { Command } from "commander";
import { QmError } from "../base/errors.ts";

/** Each word is an option's long flag, or an argument's name with `--` before it, as users may write it. */
export interface OptionRules {
  /** Of each group at most one may be given. */
  readonly exclusive?: readonly (readonly string[])[];
  /** An option, and those that it excludes. */
  readonly excludes?: Readonly<Record<string, readonly string[]>>;
  /** Of each group at least one has to be given. */
  readonly oneOf?: readonly (readonly string[])[];
  /** An option, and those of which it needs one. */
  readonly requires?: Readonly<Record<string, readonly string[]>>;
}

/** Throws `QM_INVALID` for the first rule that the parsed command breaks. */
export function checkOptionRules(command: Command, rules: OptionRules): void {
  const isGiven = (word: string) => isWordGiven(command, word);
  const pairs = Object.entries(rules.excludes ?? {}).flatMap(([word, others]) => others.map((other) => [word, other]));
  for (const group of [...(rules.exclusive ?? []), ...pairs]) {
    const [first, second] = group.filter(isGiven);
    if (first !== undefined && second !== undefined) throw usageError(`${first} and ${second} are mutually exclusive`);
  }
  for (const group of rules.oneOf ?? []) {
    if (!group.some(isGiven)) throw usageError(`${group.join(" or ")} is required`);
  }
  for (const [word, needed] of Object.entries(rules.requires ?? {})) {
    if (isGiven(word) && !needed.some(isGiven)) throw usageError(`${word} requires ${needed.join(" or ")}`);
  }
}

/** The same rules as sentences of the reference. */
export function describeRules(rules: OptionRules): string[] {
  return [
    ...(rules.oneOf ?? []).map((group) => `${joinWords(group, "or")} is required.`),
    ...(rules.exclusive ?? []).map((group) => `${joinWords(group, "and")} exclude each other.`),
    ...Object.entries(rules.excludes ?? {}).map(([word, others]) => `${word} excludes ${joinWords(others, "and")}.`),
    ...Object.entries(rules.requires ?? {}).map(([word, needed]) => `${word} requires ${joinWords(needed, "or")}.`),
  ];
}

/** Every word that the rules name; a test checks that the command has them. */
export function listRuleWords({ exclusive = [], excludes = {}, oneOf = [], requires = {} }: OptionRules): string[] {
  const tables = [...Object.entries(excludes), ...Object.entries(requires)];
  return [...exclusive.flat(), ...oneOf.flat(), ...tables.flatMap(([word, others]) => [word, ...others])];
}

function isWordGiven(command: Command, word: string): boolean {
  const option = command.options.find(({ long }) => long === word);
  if (option !== undefined) return command.getOptionValue(option.attributeName()) !== undefined;
  const place = command.registeredArguments.findIndex((argument) => `--${argument.name()}` === word);
  const value: unknown = command.processedArgs[place];
  // An optional argument that was skipped is an empty string: see `named-arguments.ts`.
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}

function usageError(reason: string): QmError {
  return new QmError("QM_INVALID", { reason });
}

function joinWords(words: readonly string[], conjunction: string): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${conjunction} ${words.at(-1)}`;
}
