import type { FastifyInstance } from "fastify";
import type {
  EndMirrorsBody,
  SnapshotCreateBody,
  SnapshotDeleteBody,
  SnapshotFilter,
  SnapshotRevertBody,
  XmlView,
} from "../../api-types/index.ts";
import { refuseConflicts } from "../../base/option-conflicts.ts";
import {
  snapshotCreateRules,
  snapshotDeleteRules,
  snapshotFilterRules,
  stateAfterwardsRules,
} from "../../service/snapshot-options.ts";
import {
  currentSnapshotBodySchema,
  endMirrorsBodySchema,
  readFlags,
  snapshotCreateBodySchema,
  snapshotDeleteQuerySchema,
  snapshotFilterQuerySchema,
  snapshotRevertBodySchema,
  type CurrentSnapshotBody,
  type FlagsQuery,
  type SnapshotFilterQuery,
} from "../schemas.ts";
import type { DomainParams, RouteContext, SnapshotParams } from "./context.ts";

export function registerSnapshotRoutes(server: FastifyInstance, { facade }: RouteContext): void {
  server.get<{ Params: DomainParams; Querystring: SnapshotFilterQuery }>(
    "/v1/domains/:domain/snapshots",
    { schema: { querystring: snapshotFilterQuerySchema } },
    async ({ params, query }) => facade.listSnapshots(params.domain, readFilter(query)),
  );
  server.post<{ Params: DomainParams; Body: SnapshotCreateBody }>(
    "/v1/domains/:domain/snapshots",
    { schema: { body: snapshotCreateBodySchema } },
    async ({ params, body }, reply) => {
      refuseConflicts(body, snapshotCreateRules);
      const created = await facade.createSnapshot(params.domain, body);
      reply.code(body.printXml === true ? 200 : 201);
      return created;
    },
  );
  server.get<{ Params: DomainParams }>("/v1/domains/:domain/current-snapshot", ({ params }) =>
    facade.currentSnapshot(params.domain),
  );
  server.put<{ Params: DomainParams; Body: CurrentSnapshotBody }>(
    "/v1/domains/:domain/current-snapshot",
    { schema: { body: currentSnapshotBodySchema } },
    ({ params, body }) => facade.setCurrentSnapshot(params.domain, body.name),
  );
  server.get<{ Params: SnapshotParams }>("/v1/domains/:domain/snapshots/:snapshot", ({ params }) =>
    facade.getSnapshot(params.domain, params.snapshot),
  );
  server.get<{ Params: SnapshotParams }>(
    "/v1/domains/:domain/snapshots/:snapshot/xml",
    async ({ params }): Promise<XmlView> => ({ xml: await facade.snapshotXml(params.domain, params.snapshot) }),
  );
  server.post<{ Params: SnapshotParams; Body: SnapshotRevertBody | null }>(
    "/v1/domains/:domain/snapshots/:snapshot/revert",
    { schema: { body: snapshotRevertBodySchema } },
    async ({ params, body }) => {
      const request = body ?? {};
      refuseConflicts(request, stateAfterwardsRules);
      return facade.revertSnapshot(params.domain, params.snapshot, request);
    },
  );
  registerDeleteRoutes(server, facade);
  registerMirrorRoutes(server, facade);
}

function registerDeleteRoutes(server: FastifyInstance, facade: RouteContext["facade"]): void {
  const options = { schema: { querystring: snapshotDeleteQuerySchema } };
  type Route = { Params: SnapshotParams; Querystring: FlagsQuery<SnapshotDeleteBody> };
  server.delete<Route>("/v1/domains/:domain/snapshots/:snapshot", options, async ({ params, query }) =>
    facade.deleteSnapshot(params.domain, params.snapshot, readDeletion(query)),
  );
  server.get<Route>("/v1/domains/:domain/snapshots/:snapshot/delete-preview", options, async ({ params, query }) =>
    facade.previewDelete(params.domain, params.snapshot, readDeletion(query)),
  );
}

function registerMirrorRoutes(server: FastifyInstance, facade: RouteContext["facade"]): void {
  server.post<{ Params: SnapshotParams; Body: EndMirrorsBody }>(
    "/v1/domains/:domain/snapshots/:snapshot/end-mirrors",
    { schema: { body: endMirrorsBodySchema } },
    async ({ params, body }, reply) => {
      const operation = await facade.endMirrors(params.domain, params.snapshot, body.mirror);
      return operation ?? reply.code(204).send();
    },
  );
  server.post<{ Params: SnapshotParams }>("/v1/domains/:domain/snapshots/:snapshot/restart-mirrors", ({ params }) =>
    facade.restartMirrors(params.domain, params.snapshot),
  );
}

function readFilter({ from, ...flags }: SnapshotFilterQuery): SnapshotFilter {
  const filter: SnapshotFilter = {
    ...(from === undefined ? {} : { from }),
    ...readFlags<Omit<SnapshotFilter, "from">>(flags),
  };
  refuseConflicts(filter, snapshotFilterRules);
  return filter;
}

function readDeletion(query: FlagsQuery<SnapshotDeleteBody>): SnapshotDeleteBody {
  const request = readFlags<SnapshotDeleteBody>(query);
  refuseConflicts(request, snapshotDeleteRules);
  return request;
}
