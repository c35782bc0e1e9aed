/** What the daemon needs of the engine, apart from how it is put together (`compose.ts`). */
import type { Logger } from "pino";
import type { Facade } from "../service/facade.ts";
import type { DaemonConfig } from "./config.ts";

export interface Composition {
  readonly facade: Facade;
  /** Lets go of everything; QEMUs run on, and unfinished operations stay in the journal for the next daemon. */
  close(): Promise<void>;
}

/** Called once, with the directories made and the state directory locked. Rejects with a `QmError`, leaving nothing open. */
export type Compose = (config: DaemonConfig, logger: Logger) => Promise<Composition>;
