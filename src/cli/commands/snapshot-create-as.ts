import type { Command } from "commander";
import {
  createRules,
  createSnapshot,
  declareCreateOptions,
  toCreateBody,
  type CreateOptions,
} from "../create-snapshot.ts";
import type { CliContext, CommandExample } from "../context.ts";
import { resolveDiskspec, resolveMemspec } from "../diskspec.ts";
import { parseBandwidth } from "../units.ts";
import type { OptionRules } from "../option-rules.ts";

interface Options extends CreateOptions {
  readonly memspec?: string;
  readonly diskspec?: readonly string[];
  readonly bandwidth?: number;
}

export const description = `All disks, and the memory, as of one instant, or nothing. Ends when the snapshot is taken and every mirror is ready. A comma
in a path of a DISKSPEC or of --memspec is doubled.`;

export const rules: OptionRules = {
  exclusive: [...createRules.exclusive, ["--memspec", "--disk-only"]],
  requires: { ...createRules.requires, "--live": ["--memspec"] },
};

export const examples: readonly CommandExample[] = [
  ["snapshot-create-as vm s1 'before the update' --disk-only --quiesce", "Take a snapshot of quiet file systems"],
  ["snapshot-create-as vm s1 --live --memspec /snap/vm.mem", "Take one with memory while the guest runs"],
  [
    "snapshot-create-as vm s1 --disk-only --diskspec vda,file=/ssd/vda.s1,mirror=/nas/vda.s1",
    "Take one whose new data goes to two images",
  ],
];

export function configure(command: Command, context: CliContext): void {
  const { cwd } = context.io;
  command
    .argument("<domain>", "name or uuid")
    .argument("[name]", "the snapshot's name (default: generated)")
    .argument("[description]", "its description")
    .argument("[diskspec...]", "as --diskspec");
  declareCreateOptions(command)
    .option(
      "--memspec <path[,snapshot=kind]>",
      "where the memory goes: a new file, snapshot=internal or snapshot=no",
      (spec) => resolveMemspec(spec, cwd),
    )
    .option(
      "--diskspec <disk[,key=value…]>",
      "what happens to a disk: snapshot=no|internal|external|manual, driver=qcow2, stype=file|block, file=PATH, mirror=PATH; may be given several times",
      (spec: string, earlier: readonly string[] = []) => [...earlier, resolveDiskspec(spec, cwd)],
    )
    .option("--bandwidth <rate>", "limit of each mirror: MiB/s, or with a suffix B, K, M, G", parseBandwidth)
    .action(
      async (domain: string, name: string | undefined, text: string | undefined, more: string[], options: Options) => {
        const { memspec, diskspec = [], bandwidth, ...flags } = options;
        const diskspecs = [...more.map((spec) => resolveDiskspec(spec, cwd)), ...diskspec];
        const body = {
          ...(name ? { name } : {}),
          ...(text ? { description: text } : {}),
          ...(memspec === undefined ? {} : { memspec }),
          ...(diskspecs.length === 0 ? {} : { diskspecs }),
          ...(bandwidth === undefined ? {} : { bytesPerS: bandwidth }),
          ...toCreateBody(flags),
        };
        await createSnapshot(context, domain, body, "");
      },
    );
}
