import type { FastifyInstance } from "fastify";
import type { SnapshotCreateBody, SnapshotDeleteBody, XmlView } from "../../api-types/index.ts";
import { QmError } from "../../base/errors.ts";
import { snapshotCreateBodySchema, snapshotDeleteBodySchema } from "../schemas.ts";
import type { DomainParams, RouteContext, SnapshotParams } from "./context.ts";

export function registerSnapshotRoutes(server: FastifyInstance, { facade }: RouteContext): void {
  server.get<{ Params: DomainParams }>("/v1/domains/:domain/snapshots", ({ params }) =>
    facade.listSnapshots(params.domain),
  );
  server.post<{ Params: DomainParams; Body: SnapshotCreateBody }>(
    "/v1/domains/:domain/snapshots",
    { schema: { body: snapshotCreateBodySchema } },
    async ({ params, body }, reply) => {
      refuseTwoDescriptions(body);
      const created = await facade.createSnapshot(params.domain, body);
      reply.code(body.printXml === true ? 200 : 201);
      return created;
    },
  );
  server.get<{ Params: SnapshotParams }>("/v1/domains/:domain/snapshots/:snapshot", ({ params }) =>
    facade.getSnapshot(params.domain, params.snapshot),
  );
  server.get<{ Params: SnapshotParams }>(
    "/v1/domains/:domain/snapshots/:snapshot/xml",
    async ({ params }): Promise<XmlView> => ({ xml: await facade.snapshotXml(params.domain, params.snapshot) }),
  );
  server.post<{ Params: SnapshotParams; Body: SnapshotDeleteBody }>(
    "/v1/domains/:domain/snapshots/:snapshot/end-mirrors",
    { schema: { body: snapshotDeleteBodySchema } },
    ({ params, body }) => facade.endMirrors(params.domain, params.snapshot, body.mirror),
  );
}

function refuseTwoDescriptions(body: SnapshotCreateBody): void {
  if (body.xml === undefined) return;
  const other = (["name", "description", "diskspecs"] as const).find((key) => body[key] !== undefined);
  if (other !== undefined) {
    throw new QmError("QM_INVALID", {
      reason: `body has both 'xml' and '${other}'; only one may describe the snapshot`,
    });
  }
}
