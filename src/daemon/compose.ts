/** Puts the rooms together: state file, dialects, service. */
import { join } from "node:path";
import { isQmError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { createOverlay } from "../image/create.ts";
import { openStore } from "../journal/store.ts";
import { dialectByName } from "../qemu/mirror-dialect/index.ts";
import { refuseEverything } from "../service/refusing-facade.ts";
import { Service } from "../service/service.ts";
import type { Composition } from "./composition.ts";

export interface ComposeConfig {
  readonly stateDir: string;
  readonly runtimeDir: string;
  /** For tests that end the daemon at a named point. */
  readonly fault?: (point: string) => Promise<void>;
}

export const stateFileName = "qmirror.db";

/**
 * Resolves when running domains were found again and interrupted operations settled, or are going on. With a state file that
 * cannot be read or understood, everything but `doctor` is refused with `QM_JOURNAL`.
 */
export async function compose(config: ComposeConfig, logger: Logger): Promise<Composition> {
  try {
    const service = await openService(config, logger);
    return { facade: service.facade, close: () => service.close() };
  } catch (error) {
    if (!isQmError(error, "QM_JOURNAL")) throw error;
    logger.error({ reason: error.message }, "no domain is touched: the state file cannot be read");
    return { facade: refuseEverything(error, config), close: () => Promise.resolve() };
  }
}

async function openService({ stateDir, runtimeDir, fault }: ComposeConfig, logger: Logger): Promise<Service> {
  const store = openStore(join(stateDir, stateFileName));
  try {
    return await Service.open({
      stateDir,
      runtimeDir,
      logger,
      store,
      dialectByName: (name) =>
        dialectByName(name, (_disk, image, backing, sizeBytes, signal) =>
          createOverlay({ image, backing, sizeBytes, signal }),
        ),
      ...(fault === undefined ? {} : { fault }),
    });
  } catch (error) {
    store.close();
    throw error;
  }
}
