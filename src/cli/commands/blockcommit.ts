import { resolve } from "node:path";
import type { Command } from "commander";
import type { BlockCommitBody } from "../../client/index.ts";
import { asyncRefusal, declareDisk, declareJobOptions, finishJob, toSpeed, type JobOptions } from "../block-options.ts";
import type { CliContext, CommandExample } from "../context.ts";
import { findDiskTarget } from "../find-disk.ts";
import type { OptionRules } from "../option-rules.ts";
import { declareRefused } from "../refused-options.ts";

interface Options extends JobOptions {
  readonly base?: string;
  readonly shallow?: true;
  readonly top?: string;
  readonly active?: true;
  readonly pivot?: true;
}

export const description = `Without --top the active image is merged too, and the domain then runs on the base; virsh asks for --active or --pivot in
that case, and so does qmirror, where both mean the same: the switch is part of the job. The command returns as soon as the job runs,
unless --wait, --pivot or --timeout is given.`;

export const examples: readonly CommandExample[] = [
  ["blockcommit vm vda --active --wait", "Merge all layers of a disk into the lowest"],
  ["blockcommit vm vda --top /d/s2.qcow2 --shallow --wait", "Merge one layer into the layer below it"],
];

export const rules: OptionRules = {
  oneOf: [["--top", "--active", "--pivot"]],
  exclusive: [["--base", "--shallow"]],
};

export function configure(command: Command, context: CliContext): void {
  declareJobOptions(declareDisk(command))
    .option("--base <file>", "the layer to merge into (default: the lowest)")
    .option("--shallow", "merge into the layer right below the top")
    .option("--top <file>", "the highest layer to merge (default: the active image)")
    .option("--active", "the active image is merged, and the domain switches to the base")
    .option("--pivot", "the same, and wait")
    .action(async (domain: string, path: string, bandwidth: string | undefined, options: Options) => {
      const { client, io, out } = context;
      const body: BlockCommitBody = {
        ...(options.base === undefined ? {} : { base: resolve(io.cwd, options.base) }),
        ...(options.top === undefined ? {} : { top: resolve(io.cwd, options.top) }),
        ...(options.shallow === true ? { shallow: true } : {}),
        ...toSpeed(bandwidth, options.bytes),
      };
      const begun = await client.blockCommit(domain, await findDiskTarget(context, domain, path), body);
      const waits = options.wait === true || options.pivot === true;
      const ended = await finishJob(context, begun, { waits, timeout: options.timeout }, "Block Commit started");
      if (ended !== undefined && !context.json) {
        out.line(options.pivot === true ? "Successfully pivoted" : "Commit complete");
      }
    });
  declareRefused(command, {
    "--async": asyncRefusal,
    "--keep-overlay": "a commit of the active image ends with the switch to its base",
    "--delete": "images that were merged are left where they are",
    "--keep-relative": "images name their backing files by absolute paths",
  });
}
