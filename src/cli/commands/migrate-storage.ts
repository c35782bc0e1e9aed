import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { declareCopyOptions, finishCopy, toCopyBody, type CopyOptions } from "../copy-options.ts";

interface Options extends CopyOptions {
  readonly keepSource?: true;
}

export const description = "All of them or none. Ends when the domain runs on the new images.";

export function configure(command: Command, context: CliContext): void {
  declareCopyOptions(command)
    .option("--keep-source", "leave the old images where they are")
    .action(async (domain: string, options: Options) => {
      const copy = toCopyBody(options, context);
      const body = { ...copy, ...(options.keepSource === true ? { keepSource: true } : {}) };
      const begun = await context.client.migrateStorage(domain, body);
      await finishCopy(context, begun, options, `Storage of domain '${domain}' migrated to ${body.to}`);
    });
}
