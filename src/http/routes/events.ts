import type { FastifyInstance } from "fastify";
import { eventsQuerySchema, type EventsQuery } from "../schemas.ts";
import type { RouteContext } from "./context.ts";

export function registerEventRoutes(server: FastifyInstance, { facade, streams }: RouteContext): void {
  server.get<{ Querystring: EventsQuery }>(
    "/v1/events",
    { schema: { querystring: eventsQuerySchema } },
    ({ query }, reply) => {
      const filter = {
        ...(query.domain === undefined ? {} : { domain: query.domain }),
        ...(query.since === undefined ? {} : { since: Number(query.since) }),
      };
      return streams.send(reply, (signal) => facade.watchEvents(filter, signal));
    },
  );
}
