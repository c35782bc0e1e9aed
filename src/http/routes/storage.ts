import type { FastifyInstance } from "fastify";
import type { CloneBody, MigrateBody } from "../../api-types/index.ts";
import { cloneBodySchema, migrateBodySchema } from "../schemas.ts";
import type { DomainParams, RouteContext } from "./context.ts";

export function registerStorageRoutes(server: FastifyInstance, { facade }: RouteContext): void {
  server.post<{ Params: DomainParams; Body: MigrateBody }>(
    "/v1/domains/:domain/migrate-storage",
    { schema: { body: migrateBodySchema } },
    ({ params, body }, reply) => {
      reply.code(202);
      return facade.migrateStorage(params.domain, body);
    },
  );
  server.post<{ Params: DomainParams; Body: CloneBody }>(
    "/v1/domains/:domain/clone-storage",
    { schema: { body: cloneBodySchema } },
    ({ params, body }, reply) => {
      reply.code(202);
      return facade.cloneStorage(params.domain, body);
    },
  );
}
