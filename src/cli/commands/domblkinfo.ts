import type { Command } from "commander";
import type { BlockInfoView } from "../../client/index.ts";
import type { CliContext } from "../context.ts";
import { findDiskTarget } from "../find-disk.ts";
import type { OptionRules } from "../option-rules.ts";
import { formatCapacity } from "../units.ts";

interface Options {
  readonly human?: true;
  readonly all?: true;
}

export const rules: OptionRules = { oneOf: [["--device", "--all"]], exclusive: [["--device", "--all"]] };

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("[device]", "a disk: its target, or the path of its image")
    .option("--human", "sizes in units of 1024")
    .option("--all", "every disk, as a table")
    .action(async (domain: string, device: string | undefined, options: Options) => {
      const { client, out } = context;
      const format = options.human === true ? formatCapacity : String;
      if (options.all === true) {
        const infos = await readAll(context, domain);
        if (context.json) out.json(infos.flatMap(({ info }) => info ?? []));
        else {
          out.table(
            ["Target", "Capacity", "Allocation", "Physical"],
            infos.map(({ target, info }) => [
              target,
              ...(info === undefined ? ["-", "-", "-"] : listSizes(info).map(format)),
            ]),
          );
        }
        return;
      }
      const info = await client.blockInfo(domain, await findDiskTarget(context, domain, device ?? ""));
      if (context.json) return out.json(info);
      out.record([
        ["Capacity", format(info.capacityBytes)],
        ["Allocation", format(info.allocationBytes)],
        ["Physical", format(info.physicalBytes)],
      ]);
    });
}

/** No info: there is no medium in the drive. */
async function readAll({ client }: CliContext, domain: string) {
  const disks = await client.domainDisks(domain);
  return Promise.all(
    disks.map(async ({ target, chain }) =>
      chain.length === 0 ? { target, info: undefined } : { target, info: await client.blockInfo(domain, target) },
    ),
  );
}

function listSizes({ capacityBytes, allocationBytes, physicalBytes }: BlockInfoView): number[] {
  return [capacityBytes, allocationBytes, physicalBytes];
}
