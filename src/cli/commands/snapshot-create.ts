import type { Command } from "commander";
import {
  createRules,
  createSnapshot,
  declareCreateOptions,
  toCreateBody,
  type CreateOptions,
} from "../create-snapshot.ts";
import { readUserFile, type CliContext, type CommandExample } from "../context.ts";
import type { OptionRules } from "../option-rules.ts";

interface Options extends CreateOptions {
  readonly redefine?: true;
  readonly current?: true;
}

export const description = `All disks, and the memory, as of one instant, or nothing. Ends when the snapshot is taken and every mirror is ready. With
--redefine no disk is touched: the document, as snapshot-dumpxml prints it, becomes what is recorded.`;

export const rules: OptionRules = {
  ...createRules,
  excludes: { "--redefine": ["--no-metadata", "--halt", "--live", "--quiesce"] },
  requires: {
    ...createRules.requires,
    "--live": ["--xmlfile"],
    "--redefine": ["--xmlfile"],
    "--current": ["--redefine"],
  },
};

export const examples: readonly CommandExample[] = [
  ["snapshot-create vm s1.xml --disk-only --quiesce", "Take a snapshot of quiet file systems, without memory"],
  ["snapshot-create vm s1.xml --redefine --current", "Tell about a snapshot that was taken before"],
];

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("[xmlfile]", "a <domainsnapshot> document (default: every disk, a generated name)")
    .option("--redefine", "record a snapshot that exists")
    .option("--current", "with --redefine: make it the current one");
  declareCreateOptions(command).action(async (domain: string, xmlfile: string | undefined, options: Options) => {
    const xml = xmlfile ? { xml: readUserFile(context, xmlfile) } : {};
    await createSnapshot(context, domain, { ...xml, ...toCreateBody(options) }, xmlfile ? ` from '${xmlfile}'` : "");
  });
}
