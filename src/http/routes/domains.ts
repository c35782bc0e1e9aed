import type { FastifyInstance } from "fastify";
import type { AttachBody, DefineBody, XmlView } from "../../api-types/index.ts";
import {
  attachBodySchema,
  defineBodySchema,
  undefineQuerySchema,
  xmlQuerySchema,
  type UndefineQuery,
  type XmlQuery,
} from "../schemas.ts";
import type { DomainParams, RouteContext } from "./context.ts";

export function registerDomainRoutes(server: FastifyInstance, { facade }: RouteContext): void {
  server.get("/v1/domains", () => facade.listDomains());
  server.post<{ Body: DefineBody }>("/v1/domains", { schema: { body: defineBodySchema } }, (request, reply) => {
    reply.code(201);
    return facade.defineDomain(request.body.xml);
  });
  server.post<{ Body: DefineBody }>("/v1/domains/create", { schema: { body: defineBodySchema } }, (request, reply) => {
    reply.code(201);
    return facade.createDomain(request.body.xml);
  });
  server.post<{ Body: AttachBody }>("/v1/domains/attach", { schema: { body: attachBodySchema } }, (request, reply) => {
    reply.code(201);
    return facade.attachDomain(request.body);
  });

  server.get<{ Params: DomainParams }>("/v1/domains/:domain", ({ params }) => facade.getDomain(params.domain));
  server.delete<{ Params: DomainParams; Querystring: UndefineQuery }>(
    "/v1/domains/:domain",
    { schema: { querystring: undefineQuerySchema } },
    async ({ params, query }, reply) => {
      await facade.undefineDomain(params.domain, { snapshotsMetadata: query.snapshotsMetadata === "1" });
      return reply.code(204).send();
    },
  );
  server.post<{ Params: DomainParams }>("/v1/domains/:domain/start", ({ params }) => facade.startDomain(params.domain));
  server.post<{ Params: DomainParams }>("/v1/domains/:domain/destroy", ({ params }) =>
    facade.destroyDomain(params.domain),
  );
  server.post<{ Params: DomainParams }>("/v1/domains/:domain/detach", async ({ params }, reply) => {
    await facade.detachDomain(params.domain);
    return reply.code(204).send();
  });
  server.get<{ Params: DomainParams; Querystring: XmlQuery }>(
    "/v1/domains/:domain/xml",
    { schema: { querystring: xmlQuerySchema } },
    async ({ params, query }): Promise<XmlView> => ({
      xml: await facade.domainXml(params.domain, { inactive: query.inactive === "1" }),
    }),
  );
}
