import { resolve } from "node:path";
import type { Command } from "commander";
import type { BlockPullBody } from "../../client/index.ts";
import { asyncRefusal, declareDisk, declareJobOptions, finishJob, toSpeed, type JobOptions } from "../block-options.ts";
import type { CliContext } from "../context.ts";
import { findDiskTarget } from "../find-disk.ts";
import { declareRefused } from "../refused-options.ts";

interface Options extends JobOptions {
  readonly base?: string;
}

export const description = `The command returns as soon as the job runs, unless --wait or --timeout is given.`;

export function configure(command: Command, context: CliContext): void {
  declareJobOptions(declareDisk(command))
    .option("--base <file>", "the highest layer that is not pulled (default: none, the disk stands alone afterwards)")
    .action(async (domain: string, path: string, bandwidth: string | undefined, options: Options) => {
      const { client, io, out } = context;
      const body: BlockPullBody = {
        ...(options.base === undefined ? {} : { base: resolve(io.cwd, options.base) }),
        ...toSpeed(bandwidth, options.bytes),
      };
      const begun = await client.blockPull(domain, await findDiskTarget(context, domain, path), body);
      const waits = options.wait === true;
      const ended = await finishJob(context, begun, { waits, timeout: options.timeout }, "Block Pull started");
      if (ended !== undefined && !context.json) out.line("Pull complete");
    });
  declareRefused(command, {
    "--async": asyncRefusal,
    "--keep-relative": "images name their backing files by absolute paths",
  });
}
