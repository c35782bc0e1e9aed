import type { Command } from "commander";
import { createSnapshot } from "../create-snapshot.ts";
import { readUserFile, type CliContext } from "../context.ts";

interface Options {
  readonly reuseExternal?: true;
  readonly printXml?: true;
}

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("[xmlfile]", "a <domainsnapshot> document (default: every disk, a generated name)")
    .option("--reuse-external", "use the images that are there already")
    .option("--print-xml", "print what would be done, and do nothing")
    .option("--disk-only", "accepted for virsh's sake: always so")
    .option("--atomic", "accepted for virsh's sake: always so")
    .action(async (domain: string, xmlfile: string | undefined, options: Options) => {
      const xml = xmlfile ? readUserFile(context, xmlfile) : undefined;
      const body = {
        ...(xml === undefined ? {} : { xml }),
        ...(options.reuseExternal === true ? { reuseExternal: true } : {}),
        ...(options.printXml === true ? { printXml: true } : {}),
      };
      await createSnapshot(context, domain, body, xmlfile ? ` from '${xmlfile}'` : "");
    });
}
