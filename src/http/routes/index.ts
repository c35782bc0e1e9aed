/** All routes, a file for each resource. */
import type { FastifyInstance } from "fastify";
import type { RouteContext } from "./context.ts";
import { registerDiskRoutes } from "./disks.ts";
import { registerDoctorRoutes } from "./doctor.ts";
import { registerDomainStateRoutes } from "./domain-state.ts";
import { registerDomainRoutes } from "./domains.ts";
import { registerEventRoutes } from "./events.ts";
import { registerOperationRoutes } from "./operations.ts";
import { registerRecoverRoutes } from "./recover.ts";
import { registerSnapshotRoutes } from "./snapshots.ts";
import { registerStorageRoutes } from "./storage.ts";
import { registerVersionRoutes } from "./version.ts";

/** Adds every route to `server`, before it is ready. */
export function registerRoutes(server: FastifyInstance, context: RouteContext): void {
  registerVersionRoutes(server, context);
  registerDomainRoutes(server, context);
  registerDomainStateRoutes(server, context);
  registerDiskRoutes(server, context);
  registerSnapshotRoutes(server, context);
  registerStorageRoutes(server, context);
  registerOperationRoutes(server, context);
  registerRecoverRoutes(server, context);
  registerEventRoutes(server, context);
  registerDoctorRoutes(server, context);
}
