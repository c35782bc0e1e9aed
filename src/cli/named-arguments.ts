/** virsh lets every positional argument be given by its name: `--domain vm` is `vm` in its place. */
import type { Command } from "commander";
import { usageError } from "./context.ts";

/**
 * The arguments of `command` (what follows its name) with named ones in their places, options first and positional ones after
 * `--`. An optional argument that is skipped becomes an empty string. Options that `command` declares keep their meaning.
 */
export function placeNamedArguments(command: Command, args: readonly string[]): string[] {
  const names = command.registeredArguments.map((argument) => argument.name());
  const named = new Map<string, string>();
  const positional: string[] = [];
  const options: string[] = [];
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--") {
      positional.push(...rest.splice(0));
    } else if (!arg.startsWith("-") || arg === "-") {
      positional.push(arg);
    } else {
      const [flag, inline] = splitFlag(arg);
      const option = [...command.options, ...(command.parent?.options ?? [])].find(
        ({ long, short }) => flag === long || flag === short,
      );
      const name = flag.slice(2);
      if (option === undefined && flag.startsWith("--") && names.includes(name)) {
        const value = inline ?? rest.shift();
        if (value === undefined) throw usageError(`${flag} needs a value`);
        named.set(name, value);
      } else {
        options.push(arg);
        if (option?.required === true && inline === undefined) options.push(...rest.splice(0, 1));
      }
    }
  }
  return named.size === 0
    ? [...options, "--", ...positional]
    : [...options, "--", ...fillPlaces(command, named, positional)];
}

function fillPlaces(command: Command, named: ReadonlyMap<string, string>, positional: string[]): string[] {
  const places = command.registeredArguments.map((argument) => ({
    argument,
    value: named.get(argument.name()) ?? positional.shift(),
  }));
  const last = places.findLastIndex(({ value }) => value !== undefined);
  const filled = places.slice(0, last + 1).map(({ argument, value }) => {
    if (value === undefined && argument.required) throw usageError(`the argument '${argument.name()}' is missing`);
    return value ?? "";
  });
  return [...filled, ...positional];
}

function splitFlag(arg: string): [flag: string, inline: string | undefined] {
  const equals = arg.startsWith("--") ? arg.indexOf("=") : -1;
  return equals < 0 ? [arg, undefined] : [arg.slice(0, equals), arg.slice(equals + 1)];
}
