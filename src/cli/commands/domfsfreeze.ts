import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import { declareMountpoints, type MountpointOptions } from "../mountpoints.ts";

export const description = `Needs the guest agent. Whatever writes to the file systems waits until domfsthaw: a Linux guest never thaws by itself.`;

export function configure(command: Command, context: CliContext): void {
  declareMountpoints(command).action(async (domain: string, words: readonly string[], options: MountpointOptions) => {
    const { client, out } = context;
    const mountpoints = [...(options.mountpoint ?? []), ...words];
    const view = await client.freezeFilesystems(domain, mountpoints.length === 0 ? undefined : mountpoints);
    if (context.json) out.json(view);
    else out.line(`Froze ${view.filesystems} filesystem(s)`);
  });
}
