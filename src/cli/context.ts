/** What a command works with. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { getSystemErrorMap } from "node:util";
import type { Command } from "commander";
import { errorText, QmError } from "../base/errors.ts";
import type { QmirrorClient } from "../client/index.ts";
import type { CliIo } from "./io.ts";
import type { OptionRules } from "./option-rules.ts";
import type { Output } from "./output.ts";

export interface CliContext {
  readonly io: CliIo;
  readonly out: Output;
  readonly client: QmirrorClient;
  /** One JSON document, or one for each change. */
  readonly json: boolean;
  /** Exit code when the command's action returns. */
  exitCode: number;
}

/** A command line without `qmirror`, and what it does. */
export type CommandExample = readonly [line: string, meaning: string];

export interface CommandModule {
  /** What help and the reference say after the summary; paragraphs are separated by empty lines. */
  readonly description?: string;
  readonly examples?: readonly CommandExample[];
  readonly rules?: OptionRules;
  /** Declares the command's arguments and options, and what it does. `context` is complete once it is run. */
  configure(command: Command, context: CliContext): void;
}

/** The text of a file that the user named, relative to where they are. Throws `QM_IO`. */
export function readUserFile(context: CliContext, file: string): string {
  const path = resolve(context.io.cwd, file);
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new QmError("QM_IO", { what: "reading", path, reason: describeFailure(error) }, { cause: error });
  }
}

/** The system's words alone: Node's own message repeats the path, and begins with a code. */
function describeFailure(error: unknown): string {
  const errno = error instanceof Error && "errno" in error ? error.errno : undefined;
  return getSystemErrorMap().get(Number(errno))?.[1] ?? errorText(error);
}

/** A command used wrongly, in a way that its declaration cannot express. */
export function usageError(reason: string): QmError {
  return new QmError("QM_INVALID", { reason });
}
