import type { CliContext } from "./context.ts";

/** The target of the disk that the user means by its target or, as virsh allows, by the path of its active image. */
export async function findDiskTarget({ client }: CliContext, domain: string, disk: string): Promise<string> {
  if (!disk.includes("/")) return disk;
  const disks = await client.domainDisks(domain);
  // An unknown path is left to the daemon, which names the disks that there are.
  return disks.find(({ chain }) => chain[0]?.path === disk)?.target ?? disk;
}
