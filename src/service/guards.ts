/** What a domain refuses while something else is going on (DESIGN section 3). */
import { QmError } from "../base/errors.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { DomainRegistry } from "./domain-registry.ts";

/** One operation at a time has a domain: `QM_DOMAIN_BUSY` names the one that has it. */
export function assertNotBusy(entry: DomainEntry): void {
  if (entry.busy?.failure !== undefined) {
    throw new QmError(
      "QM_RECOVERY_NEEDED",
      { domain: entry.name, reason: entry.busy.what },
      { cause: entry.busy.failure },
    );
  }
  if (entry.busy !== undefined) {
    throw new QmError("QM_DOMAIN_BUSY", {
      domain: entry.name,
      operation: entry.busy.what,
      id: entry.busy.operation ?? "",
    });
  }
}

export function assertNotMirrored(registry: DomainRegistry, entry: DomainEntry, what: string): void {
  const mirrored = registry.mirroredSnapshot(entry);
  if (mirrored !== undefined) {
    throw new QmError("QM_DOMAIN_MIRRORED", { domain: entry.name, snapshot: mirrored.name, what });
  }
}

/** `QM_BLOCK_COPY` while a block copy follows one of its disks; `disk`: that one. */
export function assertNotCopied(entry: DomainEntry, what: string, disk?: string): void {
  const copy = entry.run?.copies?.find((one) => disk === undefined || one.disk === disk);
  if (copy === undefined) return;
  throw new QmError("QM_BLOCK_COPY", { domain: entry.name, disk: copy.disk, path: copy.target.image.path, what });
}

/** Has the domain to itself while `work` runs. */
export async function withDomain<T>(entry: DomainEntry, what: string, work: () => Promise<T>): Promise<T> {
  assertNotBusy(entry);
  entry.busy = { what };
  try {
    return await work();
  } finally {
    delete entry.busy;
  }
}
