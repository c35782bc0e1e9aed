import { errorRegistry, type ErrorEntry } from "../base/error-registry.ts";

/** The registry's exit code of an error; 1 for one that only a newer daemon knows. */
export function exitCodeOf(code: string): number {
  const entry: ErrorEntry | undefined = Object.hasOwn(errorRegistry, code)
    ? (errorRegistry as Readonly<Record<string, ErrorEntry>>)[code]
    : undefined;
  return entry?.exit ?? 1;
}
