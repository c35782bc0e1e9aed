/** What `migrate-storage` and `clone-storage` have in common. */
import { resolve } from "node:path";
import type { Command } from "commander";
import type { CloneBody, OperationView } from "../client/index.ts";
import { usageError, type CliContext } from "./context.ts";
import { followOperation } from "./follow-operation.ts";
import { parseBandwidth } from "./units.ts";

export interface CopyOptions {
  readonly to: string;
  readonly disk?: readonly string[];
  readonly flatten?: true;
  readonly verify?: true;
  readonly bandwidth?: number;
  readonly wait?: true;
  readonly detach?: true;
}

/** Declares the domain and the options that both commands take. */
export function declareCopyOptions(command: Command): Command {
  return command
    .argument("<domain>", "name or uuid of a running domain")
    .requiredOption("--to <directory>", "an existing directory")
    .option("--disk <targets>", "these disks, separated by commas (default: every writable one)", collectTargets)
    .option("--flatten", "one image without backing files for each disk")
    .option("--verify", "compare the copies with their sources")
    .option("--bandwidth <rate>", "limit: MiB/s, or with a suffix B, K, M, G", parseBandwidth)
    .option("--wait", "show progress until it has ended; the default")
    .option("--detach", "return as soon as it has begun");
}

/** The request for these options. Throws `QM_INVALID` when they contradict each other. */
export function toCopyBody(options: CopyOptions, context: CliContext): CloneBody {
  if (options.wait === true && options.detach === true) throw usageError("--wait and --detach exclude each other");
  return {
    to: resolve(context.io.cwd, options.to),
    ...(options.disk === undefined ? {} : { disks: options.disk }),
    ...(options.flatten === true ? { flatten: true } : {}),
    ...(options.verify === true ? { verify: true } : {}),
    ...(options.bandwidth === undefined ? {} : { bytesPerS: options.bandwidth }),
  };
}

/** Follows the operation that has begun, or tells how to; `done` is the last line when it succeeded. */
export async function finishCopy(
  context: CliContext,
  begun: OperationView,
  options: CopyOptions,
  done: string,
): Promise<void> {
  if (options.detach === true) {
    if (context.json) context.out.json(begun);
    else context.out.line(`Operation ${begun.id} has begun; \`qmirror operation-watch ${begun.id}\` watches it`);
  } else if ((await followOperation(context, begun.id)) !== undefined && !context.json) context.out.line(done);
}

function collectTargets(text: string, earlier: readonly string[] = []): string[] {
  const targets = text.split(",");
  if (targets.includes("")) throw usageError(`--disk '${text}' names an empty disk`);
  return [...earlier, ...targets];
}
