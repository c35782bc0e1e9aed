import type { DomainDefinition } from "../../model/domain.ts";
import type { Monitor } from "../../qemu/monitor.ts";

/** What an operation may do with the domain's QEMU. The service has it. */
export interface Machine {
  /** Absent: it does not run. */
  monitor(): Monitor | undefined;
  /** Ends QEMU at once; no error when it does not run. The domain stays known, a transient one too. */
  stop(): Promise<void>;
  /** Starts QEMU, and waits until it answers; with `memoryFile` until that is loaded. */
  start(
    definition: DomainDefinition,
    options: { readonly paused: boolean; readonly memoryFile?: string },
  ): Promise<void>;
  /** A path for a socket in the domain's runtime directory. */
  socketPath(name: string): string;
  /** Freezes the guest's file systems; how many. Rejects with `QM_AGENT`. */
  freeze(): Promise<number>;
  /** Thaws them; no error when nothing was frozen. */
  thaw(): Promise<number>;
}
