import { resolve } from "node:path";
import { Option, type Command } from "commander";
import type { BlockCopyBody } from "../../client/index.ts";
import { asyncRefusal, declareDisk, declareJobOptions, finishJob, toSpeed, type JobOptions } from "../block-options.ts";
import type { CliContext, CommandExample } from "../context.ts";
import { findDiskTarget } from "../find-disk.ts";
import { reportEnd, waitForAnswer } from "../follow-operation.ts";
import type { OptionRules } from "../option-rules.ts";
import { declareRefused } from "../refused-options.ts";

interface Options extends JobOptions {
  readonly blockdev?: true;
  readonly format?: "qcow2" | "raw";
  readonly shallow?: true;
  readonly reuseExternal?: true;
  readonly pivot?: true;
  readonly finish?: true;
}

export const description = `When all is copied, the copy follows the disk until blockjob --pivot switches to it, or blockjob --abort leaves it as the
copy of that moment. Without --wait, --pivot, --finish and --timeout the command returns as soon as the job runs.`;

export const examples: readonly CommandExample[] = [
  ["blockcopy vm vda --dest /data/vda.qcow2 --pivot", "Move a disk while the guest runs"],
];

export const rules: OptionRules = { oneOf: [["--dest"]], exclusive: [["--pivot", "--finish"]] };

export function configure(command: Command, context: CliContext): void {
  declareDisk(command).argument("[dest]", "the copy: a new file, or a block device");
  declareJobOptions(command)
    .option("--blockdev", "the destination is a block device")
    .addOption(new Option("--format <name>", "format of the copy (default: the disk's)").choices(["qcow2", "raw"]))
    .option("--shallow", "copy the active image alone; the copy stands on the same backing image")
    .option("--reuse-external", "copy into the file that is there already")
    .option("--pivot", "wait, then switch to the copy")
    .option("--finish", "wait, then leave the copy as it is")
    .option("--transient-job", "accepted for virsh's sake")
    .action(
      async (
        domain: string,
        path: string,
        dest: string | undefined,
        bandwidth: string | undefined,
        options: Options,
      ) => {
        const body: BlockCopyBody = {
          dest: resolve(context.io.cwd, dest ?? ""),
          ...(options.blockdev === true ? { destType: "block" } : {}),
          ...(options.format === undefined ? {} : { format: options.format }),
          ...(options.shallow === true ? { shallow: true } : {}),
          ...(options.reuseExternal === true ? { reuseExternal: true } : {}),
          ...toSpeed(bandwidth, options.bytes),
        };
        await copy(context, domain, await findDiskTarget(context, domain, path), body, options);
      },
    );
  declareRefused(command, {
    "--async": asyncRefusal,
    "--xml <file>": "--dest, --blockdev and --format say what the copy is",
    "--granularity <number>": "QEMU's own choice is used",
    "--buf-size <number>": "QEMU's own choice is used",
    "--synchronous-writes": "the copy catches up with the guest by itself",
    "--print-xml": "no XML is made for it",
  });
}

async function copy(context: CliContext, domain: string, disk: string, body: BlockCopyBody, options: Options) {
  const { client, out } = context;
  const ends = options.pivot === true || options.finish === true;
  const begun = await client.blockCopy(domain, disk, body);
  const waits = options.wait === true || ends;
  const ready = await finishJob(context, begun, { waits, timeout: options.timeout }, "Block Copy started");
  if (ready === undefined) return;
  if (!ends) {
    if (!context.json) out.line("Now in mirroring phase");
    return;
  }
  const how = options.pivot === true ? "pivot" : "abort";
  const answer = await waitForAnswer(context, domain, (signal) => client.endBlockJob(domain, disk, how, signal));
  if (answer === undefined || reportEnd(context, answer) === undefined) return;
  if (context.json) out.json(answer);
  else out.line(how === "pivot" ? "Successfully pivoted" : "Successfully copied");
}
