import { resolve } from "node:path";
import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<qmp-socket>", "QMP socket of the running QEMU")
    .option("--name <name>", "name of the domain (default: what QEMU calls it)")
    .action(async (socket: string, options: { readonly name?: string }) => {
      const { client, io, out } = context;
      const view = await client.attachDomain({ qmp: resolve(io.cwd, socket), ...options });
      if (context.json) out.json(view);
      else out.line(`Domain '${view.name}' attached`);
    });
}
