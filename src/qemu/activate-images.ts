/** A completed migration leaves QEMU's images inactive: nothing but `cont` is meant to use them again. */
import type { Monitor } from "./monitor.ts";
import { ignoreRefusal } from "./tolerate.ts";

/**
 * Makes the images of a QEMU in the state `postmigrate` active while its guest stands still: an export of a node activates it and
 * all below it, and QEMU 7.2 has nothing else that does. The exports are gone when it resolves. Where QEMU refuses, the images stay
 * inactive: then block jobs are refused until `cont`, which makes them active in any case.
 */
export async function activateImages(monitor: Monitor, socketPath: string): Promise<void> {
  // Those too that no device uses yet: overlays are opened before the memory is saved.
  const named = await monitor.execute("query-named-block-nodes", { flat: true });
  const nodes = named.filter(({ ro }) => !ro).flatMap((node) => node["node-name"] ?? []);
  if (nodes.length === 0) return;
  let isOurs = false;
  const addr = { type: "unix", data: { path: socketPath } } as const;
  await ignoreRefusal(monitor.execute("nbd-server-start", { addr }).then(() => (isOurs = true)));
  try {
    for (const [index, node] of nodes.entries()) {
      const id = `qm-activate-${index}`;
      await ignoreRefusal(monitor.execute("block-export-add", { type: "nbd", id, "node-name": node, name: id }));
      await ignoreRefusal(monitor.execute("block-export-del", { id, mode: "hard" }));
    }
  } finally {
    if (isOurs) await ignoreRefusal(monitor.execute("nbd-server-stop"));
  }
}
