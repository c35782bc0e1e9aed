import { resolve } from "node:path";
import type { Command } from "commander";
import { readUserFile, type CliContext } from "../context.ts";
import type { OptionRules } from "../option-rules.ts";
import { declareRefused } from "../refused-options.ts";

interface Options {
  readonly running?: true;
  readonly paused?: true;
  readonly xml?: string;
}

export const rules: OptionRules = { exclusive: [["--running", "--paused"]] };

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<file>", "a file that save wrote")
    .option("--running", "run the domain, whatever the file says")
    .option("--paused", "leave it paused, whatever the file says")
    .option("--xml <file>", "a <domain> to restore it with, of the same hardware")
    .action(async (file: string, { running, paused, xml }: Options) => {
      const { client, io, out } = context;
      const path = resolve(io.cwd, file);
      const view = await client.restoreDomain({
        file: path,
        ...(running === true ? { running } : {}),
        ...(paused === true ? { paused } : {}),
        ...(xml === undefined ? {} : { xml: readUserFile(context, xml) }),
      });
      if (context.json) out.json(view);
      else out.line(`Domain restored from ${file}`);
    });
  declareRefused(command, {
    "--bypass-cache": "QEMU reads the file itself",
    "--reset-nvram": "qmirror's domains have no NVRAM",
  });
}
