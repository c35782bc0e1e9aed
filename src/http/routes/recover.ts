import type { FastifyInstance } from "fastify";
import type { RecoverBody } from "../../api-types/index.ts";
import { recoverBodySchema } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

export function registerRecoverRoutes(server: FastifyInstance, { facade }: RouteContext): void {
  server.get<{ Querystring: RecoverBody }>(
    "/v1/recovery",
    { schema: { querystring: recoverBodySchema } },
    ({ query }) => facade.showRecovery(query.domain),
  );
  server.post<{ Body: RecoverBody | null }>(
    "/v1/recovery",
    { schema: { body: { ...recoverBodySchema, nullable: true } } },
    ({ body }) => facade.applyRecovery(body?.domain),
  );
}
