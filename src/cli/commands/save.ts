import { resolve } from "node:path";
import type { Command } from "commander";
import { readUserFile, type CliContext } from "../context.ts";
import { reportEnd, waitForAnswer } from "../follow-operation.ts";
import { waitWithProgress } from "../follow-request.ts";
import type { OptionRules } from "../option-rules.ts";
import { declareRefused } from "../refused-options.ts";

interface Options {
  readonly running?: true;
  readonly paused?: true;
  readonly xml?: string;
  readonly verbose?: true;
}

export const description = `It returns when the memory is in the file and QEMU has ended. The disks are not part of the file: they must stay as they
are until the domain is restored.`;

export const rules: OptionRules = { exclusive: [["--running", "--paused"]] };

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid of a running domain")
    .argument("<file>", "the new file")
    .option("--running", "restore will run it (default: as it is now)")
    .option("--paused", "restore will leave it paused")
    .option("--xml <file>", "a <domain> to restore it with, of the same hardware")
    .option("--verbose", "show progress meanwhile")
    .action(async (domain: string, file: string, { running, paused, xml, verbose }: Options) => {
      const { client, io, out } = context;
      const path = resolve(io.cwd, file);
      const body = {
        file: path,
        ...(running === true ? { running } : {}),
        ...(paused === true ? { paused } : {}),
        ...(xml === undefined ? {} : { xml: readUserFile(context, xml) }),
      };
      const request = (signal: AbortSignal) => client.saveDomain(domain, body, signal);
      const answer =
        verbose === true && !context.json
          ? await waitWithProgress(context, domain, "save", request)
          : await waitForAnswer(context, domain, request);
      if (answer === undefined || reportEnd(context, answer) === undefined) return;
      if (context.json) out.json(answer);
      else out.line(`Domain '${domain}' saved to ${file}`);
    });
  declareRefused(command, { "--bypass-cache": "QEMU writes the file itself" });
}
