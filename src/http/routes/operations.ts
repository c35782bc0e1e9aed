import type { FastifyInstance } from "fastify";
import type { SpeedBody } from "../../api-types/index.ts";
import { operationsQuerySchema, speedBodySchema, type OperationsQuery } from "../schemas.ts";
import type { OperationParams, RouteContext } from "./context.ts";

export function registerOperationRoutes(server: FastifyInstance, { facade, streams }: RouteContext): void {
  server.get<{ Querystring: OperationsQuery }>(
    "/v1/operations",
    { schema: { querystring: operationsQuerySchema } },
    ({ query }) =>
      facade.listOperations({
        ...(query.domain === undefined ? {} : { domain: query.domain }),
        ...(query.running === undefined ? {} : { running: query.running === "1" }),
      }),
  );
  server.get<{ Params: OperationParams }>("/v1/operations/:id", ({ params }) => facade.getOperation(params.id));
  server.post<{ Params: OperationParams }>("/v1/operations/:id/cancel", ({ params }) =>
    facade.cancelOperation(params.id),
  );
  server.put<{ Params: OperationParams; Body: SpeedBody }>(
    "/v1/operations/:id/speed",
    { schema: { body: speedBodySchema } },
    ({ params, body }) => facade.setSpeed(params.id, body.bytesPerS),
  );
  server.get<{ Params: OperationParams }>("/v1/operations/:id/watch", async ({ params }, reply) => {
    // Asked first, so that an unknown id is answered with its status and not inside a stream.
    await facade.getOperation(params.id);
    await streams.send(reply, (signal) => facade.watchOperation(params.id, signal), { newestOnly: true });
  });
}
