import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { createSnapshot } from "../create-snapshot.ts";
import { resolveDiskspec } from "../diskspec.ts";
import { parseBandwidth } from "../units.ts";

interface Options {
  readonly diskspec?: readonly string[];
  readonly reuseExternal?: true;
  readonly printXml?: true;
  readonly bandwidth?: number;
}

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("[name]", "the snapshot's name (default: generated)")
    .argument("[description]", "its description")
    .option(
      "--diskspec <disk[,key=value…]>",
      "what happens to a disk: snapshot=no|external, file=PATH, mirror=PATH; may be given several times",
      (spec: string, earlier: readonly string[] = []) => [...earlier, resolveDiskspec(spec, context.io.cwd)],
    )
    .option("--reuse-external", "use the images that are there already")
    .option("--bandwidth <rate>", "limit of each mirror: MiB/s, or with a suffix B, K, M, G", parseBandwidth)
    .option("--print-xml", "print what would be done, and do nothing")
    .option("--disk-only", "accepted for virsh's sake: always so")
    .option("--atomic", "accepted for virsh's sake: always so")
    .action(async (domain: string, name: string | undefined, description: string | undefined, options: Options) => {
      const body = {
        ...(name ? { name } : {}),
        ...(description ? { description } : {}),
        ...(options.diskspec === undefined ? {} : { diskspecs: options.diskspec }),
        ...(options.reuseExternal === true ? { reuseExternal: true } : {}),
        ...(options.bandwidth === undefined ? {} : { bytesPerS: options.bandwidth }),
        ...(options.printXml === true ? { printXml: true } : {}),
      };
      await createSnapshot(context, domain, body, "");
    });
}
