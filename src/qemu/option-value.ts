/** How values are quoted in QEMU's argument vector: the one place where a name could turn into an option. */
import { QmError } from "../base/errors.ts";

/** A value within `key=value,key=value`: a comma is written twice. */
export function quoteValue(value: string): string {
  return value.replaceAll(",", ",,");
}

/** `prefix,key=value,…`; entries that are undefined are left out. */
export function formatOption(prefix: string, values: Readonly<Record<string, string | undefined>>): string {
  const pairs = Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${quoteValue(value)}`],
  );
  return [prefix, ...pairs].filter((part) => part !== "").join(",");
}

/** A word that QEMU reads with a syntax that has no quoting (a CPU model, a device's driver): checked, not quoted. */
export function checkWord(what: string, value: string): string {
  if (!/^[\w.+-]+$/.test(value)) throw new QmError("QM_INVALID", { reason: `${what} '${value}' is not a plain word` });
  return value;
}
