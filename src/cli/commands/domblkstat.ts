import type { Command } from "commander";
import type { BlockStatsView } from "../../client/index.ts";
import type { CliContext } from "../context.ts";
import { findDiskTarget } from "../find-disk.ts";

/** In virsh's order: its words for programs and for people. */
const counters: readonly (readonly [key: Exclude<keyof BlockStatsView, "target">, word: string, text: string])[] = [
  ["rdReq", "rd_req", "number of read operations:"],
  ["rdBytes", "rd_bytes", "number of bytes read:"],
  ["wrReq", "wr_req", "number of write operations:"],
  ["wrBytes", "wr_bytes", "number of bytes written:"],
  ["flushReq", "flush_operations", "number of flush operations:"],
  ["rdTotalTimesNs", "rd_total_times", "total duration of reads (ns):"],
  ["wrTotalTimesNs", "wr_total_times", "total duration of writes (ns):"],
  ["flushTotalTimesNs", "flush_total_times", "total duration of flushes (ns):"],
];
const textWidth = 31;

export const description = `Counted since QEMU was started. Without a disk: the sum of all disks.`;

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid of a running domain")
    .argument("[device]", "a disk: its target, or the path of its image")
    .option("--human", "say what each number is")
    .action(async (domain: string, device: string | undefined, options: { readonly human?: true }) => {
      const { client, out } = context;
      const stats = device
        ? await client.blockStats(domain, await findDiskTarget(context, domain, device))
        : sum(await readAll(context, domain));
      if (context.json) return out.json(stats);
      if (options.human === true) out.line(`Device: ${stats.target}`);
      for (const [key, word, text] of counters) {
        if (options.human === true) out.line(` ${text.padEnd(textWidth)} ${stats[key]}`);
        else out.line(`${stats.target} ${word} ${stats[key]}`);
      }
    });
}

async function readAll({ client }: CliContext, domain: string): Promise<BlockStatsView[]> {
  const disks = await client.domainDisks(domain);
  return Promise.all(disks.map(({ target }) => client.blockStats(domain, target)));
}

function sum(all: readonly BlockStatsView[]): BlockStatsView {
  const total = (key: Exclude<keyof BlockStatsView, "target">) => all.reduce((so, stats) => so + stats[key], 0);
  return {
    target: "",
    rdReq: total("rdReq"),
    rdBytes: total("rdBytes"),
    wrReq: total("wrReq"),
    wrBytes: total("wrBytes"),
    flushReq: total("flushReq"),
    rdTotalTimesNs: total("rdTotalTimesNs"),
    wrTotalTimesNs: total("wrTotalTimesNs"),
    flushTotalTimesNs: total("flushTotalTimesNs"),
  };
}
