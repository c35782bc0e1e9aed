import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { declareCopyOptions, finishCopy, toCopyBody, type CopyOptions } from "../copy-options.ts";

export const description = "The domain stays where it is.";

export function configure(command: Command, context: CliContext): void {
  declareCopyOptions(command).action(async (domain: string, options: CopyOptions) => {
    const body = toCopyBody(options, context);
    const begun = await context.client.cloneStorage(domain, body);
    await finishCopy(context, begun, options, `Storage of domain '${domain}' cloned to ${body.to}`);
  });
}
