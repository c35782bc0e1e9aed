import type { Command } from "commander";
import { parseBytes } from "../../base/units.ts";
import { declareDisk } from "../block-options.ts";
import { usageError, type CliContext } from "../context.ts";
import { findDiskTarget } from "../find-disk.ts";

export function configure(command: Command, context: CliContext): void {
  declareDisk(command)
    .argument("<size>", "KiB, or with a suffix B, K, M, G, T", parseSize)
    .action(async (domain: string, path: string, sizeBytes: number) => {
      const { client, out } = context;
      const target = await findDiskTarget(context, domain, path);
      await client.blockResize(domain, target, sizeBytes);
      if (context.json) out.json({ domain, target, sizeBytes });
      else out.line(`Block device '${path}' is resized`);
    });
}

/** As virsh has it, which counts in KiB here and in bytes elsewhere. */
function parseSize(text: string): number {
  const sizeBytes = parseBytes(/^[0-9]+$/.test(text) ? `${text}K` : text);
  if (sizeBytes === 0) throw usageError("a disk cannot have the size 0");
  return sizeBytes;
}
