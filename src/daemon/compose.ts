/** Puts the rooms together: state file, dialects, service. */
import { join } from "node:path";
import type { Logger } from "../base/logger.ts";
import { createOverlay } from "../image/create.ts";
import { openStore } from "../journal/store.ts";
import { dialectByName } from "../qemu/mirror-dialect/index.ts";
import { Service } from "../service/service.ts";
import type { Composition } from "./composition.ts";

export interface ComposeConfig {
  readonly stateDir: string;
  readonly runtimeDir: string;
  /** For tests that end the daemon at a named point. */
  readonly fault?: (point: string) => Promise<void>;
}

export const stateFileName = "qmirror.db";

/** Resolves when running domains were found again and interrupted operations settled, or are going on. */
export async function compose(config: ComposeConfig, logger: Logger): Promise<Composition> {
  const { stateDir, runtimeDir, fault } = config;
  const service = await Service.open({
    stateDir,
    runtimeDir,
    logger,
    store: openStore(join(stateDir, stateFileName)),
    dialectByName: (name) =>
      dialectByName(name, (_disk, image, backing, sizeBytes, signal) =>
        createOverlay({ image, backing, sizeBytes, signal }),
      ),
    ...(fault === undefined ? {} : { fault }),
  });
  return { facade: service.facade, close: () => service.close() };
}
