/** Block copies that ended by themselves: the destination failed. The guest goes on on its source. */
import type { Store } from "../journal/store.ts";
import { abandonCopy, readJobState } from "../qemu/block-copy.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { DomainRegistry } from "./domain-registry.ts";
import type { EventLog } from "./event-log.ts";

interface Deps {
  readonly store: Store;
  readonly registry: DomainRegistry;
  readonly events: EventLog;
}

/**
 * Forgets copies whose job has ended without anybody asking for it, closes their destination and says so in an event. Nothing while
 * an operation has the domain: that looks by itself. Call it after a reconnect, and when a job of QEMU has concluded.
 */
export async function dropEndedCopies({ store, registry, events }: Deps, entry: DomainEntry): Promise<void> {
  for (const copy of entry.run?.copies ?? []) {
    if (entry.busy !== undefined || entry.monitor === undefined) return;
    const { state, reason } = await readJobState(entry.monitor, copy.jobId);
    if (state !== "ended" || isHeld(entry)) continue;
    // Forgotten last: what dies before that is found and ended again.
    await abandonCopy(entry.monitor, copy);
    if (isHeld(entry) || entry.run?.copies?.includes(copy) !== true) continue;
    const copies = entry.run.copies.filter((other) => other !== copy);
    entry.run = { ...entry.run, copies };
    store.atomically(() => {
      registry.save(entry);
      events.append(entry.name, "block-job", {
        disk: copy.disk,
        state: "failed",
        path: copy.target.image.path,
        reason: reason ?? "",
      });
    });
  }
}

function isHeld({ busy }: DomainEntry): boolean {
  return busy !== undefined;
}
