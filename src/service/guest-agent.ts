/** The guest agent of a domain: where its channel is, and whether anybody listens there. */
import { QmError } from "../base/errors.ts";
import { freezeGuest, thawGuest, type GuestAgent } from "../qemu/guest-agent.ts";
import { requireMonitor, type DomainEntry } from "./domain-entry.ts";
import { domainPaths } from "./domain-paths.ts";

/** The name of the channel's character device on our command line. */
const agentChardev = "qm-agent";

/** Rejects with `QM_AGENT` where there is no channel, or nothing in the guest has opened it; then nobody was asked anything. */
export async function requireAgent(
  { runtimeDir }: { readonly runtimeDir: string },
  entry: DomainEntry,
): Promise<GuestAgent> {
  const monitor = requireMonitor(entry);
  const channel = entry.run?.definition.agentChannel;
  const refuse = (reason: string) => new QmError("QM_AGENT", { domain: entry.name, reason });
  if (channel === undefined) throw refuse("the domain has no channel for it (org.qemu.guest_agent.0)");
  const chardev = (await monitor.execute("query-chardev")).find(({ label }) => label === agentChardev);
  if (chardev?.["frontend-open"] === false) throw refuse("no agent runs in the guest");
  return { domain: entry.name, socketPath: channel.path ?? domainPaths(runtimeDir, entry.uuid).agentSocket };
}

/** How many were frozen. `QM_AGENT`: see `freezeGuest`. */
export async function freezeFilesystems(
  deps: { readonly runtimeDir: string },
  entry: DomainEntry,
  mountpoints?: readonly string[],
): Promise<number> {
  const agent = await requireAgent(deps, entry);
  return await freezeGuest(agent, mountpoints === undefined || mountpoints.length === 0 ? {} : { mountpoints });
}

/** How many were thawed. The agent thaws all or nothing: `QM_UNSUPPORTED` with mount points, as in libvirt's QEMU driver. */
export async function thawFilesystems(
  deps: { readonly runtimeDir: string },
  entry: DomainEntry,
  mountpoints: readonly string[] = [],
): Promise<number> {
  if (mountpoints.length > 0) {
    const detail = ": the guest agent thaws all that it has frozen";
    throw new QmError("QM_UNSUPPORTED", { what: "thawing some file systems only", detail });
  }
  return await thawGuest(await requireAgent(deps, entry));
}
