/** Which of the guest's file systems: what `domfsfreeze` and `domfsthaw` share. */
import type { Command } from "commander";

export interface MountpointOptions {
  readonly mountpoint?: readonly string[];
}

export function declareMountpoints(command: Command): Command {
  return command
    .argument("<domain>", "name or uuid of a running domain")
    .argument("[mountpoints...]", "where they are mounted in the guest (default: all file systems)")
    .option("--mountpoint <name>", "the same; may be given several times", (path: string, earlier: string[] = []) => [
      ...earlier,
      path,
    ]);
}
