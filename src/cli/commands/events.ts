import type { Command } from "commander";
import type { EventView } from "../../client/index.ts";
import { usageError, type CliContext } from "../context.ts";
import { untilInterrupt } from "../interrupt.ts";
import { formatTime } from "../units.ts";

export const description = "Until Ctrl-C.";

export function configure(command: Command, context: CliContext): void {
  command
    .argument("[domain]", "name or uuid (default: all)")
    .option("--since <number>", "begin with the kept events after this number (0: all of them)", parseSequence)
    .option("--loop", "accepted for virsh's sake: events are followed until Ctrl-C")
    .action(async (domain: string | undefined, { since }: { readonly since?: number }) => {
      const { client, out, io } = context;
      await untilInterrupt(io, async (signal) => {
        const filter = { domain: domain || undefined, since };
        for await (const event of client.watchEvents(filter, signal)) {
          if (context.json) out.json(event);
          else out.line(describeEvent(event));
        }
        if (signal.aborted) return;
        io.stderr.write("error: the daemon ended the stream of events\n");
        context.exitCode = 1;
      });
    });
}

function describeEvent({ at, type, domain, detail }: EventView): string {
  const pairs = Object.entries(detail).map(([key, value]) => {
    return `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`;
  });
  return `${formatTime(at)}: event '${type}' for domain '${domain}': ${pairs.join(" ")}`;
}

function parseSequence(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw usageError(`--since '${text}' is not an event's number`);
  return Number(text);
}
