import type { Logger } from "../base/logger.ts";
import type { Machine } from "../engine/steps/machine.ts";
import type { Store } from "../journal/store.ts";
import type { DialectName, MirrorDialect } from "../qemu/mirror-dialect/dialect.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { DomainRegistry } from "./domain-registry.ts";
import type { EventLog } from "./event-log.ts";

export interface OperationDeps {
  readonly store: Store;
  readonly registry: DomainRegistry;
  readonly events: EventLog;
  readonly logger: Logger;
  readonly dialectByName: (name: DialectName) => MirrorDialect;
  readonly machine: (entry: DomainEntry) => Machine;
  /** A named point at which a test may end the process: see `RunHooks.fault`. */
  readonly fault: (point: string) => Promise<void>;
  /** Aborted once the daemon is stopping: what is under way stays in the journal for the next one. */
  readonly closing: AbortSignal;
}
