/** A domain's disks, and what is done to one of them. */
import type { FastifyInstance } from "fastify";
import type {
  AttachDiskBody,
  BlockCommitBody,
  BlockCopyBody,
  BlockJobEndBody,
  BlockPullBody,
  BlockResizeBody,
  DeviceScope,
  SpeedBody,
} from "../../api-types/index.ts";
import { refuseConflicts } from "../../base/option-conflicts.ts";
import { blockCommitRules } from "../../service/snapshot-options.ts";
import {
  attachDiskBodySchema,
  blockCommitBodySchema,
  blockCopyBodySchema,
  blockJobEndBodySchema,
  blockPullBodySchema,
  blockResizeBodySchema,
  deviceScopeQuerySchema,
  readFlags,
  speedBodySchema,
  type FlagsQuery,
} from "../schemas.ts";
import type { DiskParams, DomainParams, RouteContext } from "./context.ts";

export function registerDiskRoutes(server: FastifyInstance, { facade }: RouteContext): void {
  server.get<{ Params: DomainParams }>("/v1/domains/:domain/disks", ({ params }) => facade.domainDisks(params.domain));
  server.post<{ Params: DomainParams; Body: AttachDiskBody }>(
    "/v1/domains/:domain/disks",
    { schema: { body: attachDiskBodySchema } },
    ({ params, body }, reply) => {
      reply.code(201);
      return facade.attachDisk(params.domain, body);
    },
  );
  server.delete<{ Params: DiskParams; Querystring: FlagsQuery<DeviceScope> }>(
    "/v1/domains/:domain/disks/:disk",
    { schema: { querystring: deviceScopeQuerySchema } },
    async ({ params, query }, reply) => {
      await facade.detachDisk(params.domain, params.disk, readFlags<DeviceScope>(query));
      return reply.code(204).send();
    },
  );
  server.get<{ Params: DiskParams }>("/v1/domains/:domain/disks/:disk/info", ({ params }) =>
    facade.blockInfo(params.domain, params.disk),
  );
  server.get<{ Params: DiskParams }>("/v1/domains/:domain/disks/:disk/stats", ({ params }) =>
    facade.blockStats(params.domain, params.disk),
  );
  server.put<{ Params: DiskParams; Body: BlockResizeBody }>(
    "/v1/domains/:domain/disks/:disk/size",
    { schema: { body: blockResizeBodySchema } },
    async ({ params, body }, reply) => {
      await facade.blockResize(params.domain, params.disk, body.sizeBytes);
      return reply.code(204).send();
    },
  );
  registerJobStarts(server, facade);
  registerJobRoutes(server, facade);
}

function registerJobStarts(server: FastifyInstance, facade: RouteContext["facade"]): void {
  server.post<{ Params: DiskParams; Body: BlockCopyBody }>(
    "/v1/domains/:domain/disks/:disk/copy",
    { schema: { body: blockCopyBodySchema } },
    ({ params, body }, reply) => {
      reply.code(202);
      return facade.blockCopy(params.domain, params.disk, body);
    },
  );
  server.post<{ Params: DiskParams; Body: BlockCommitBody | null }>(
    "/v1/domains/:domain/disks/:disk/commit",
    { schema: { body: blockCommitBodySchema } },
    async ({ params, body }, reply) => {
      const request = body ?? {};
      refuseConflicts(request, blockCommitRules);
      reply.code(202);
      return facade.blockCommit(params.domain, params.disk, request);
    },
  );
  server.post<{ Params: DiskParams; Body: BlockPullBody | null }>(
    "/v1/domains/:domain/disks/:disk/pull",
    { schema: { body: blockPullBodySchema } },
    ({ params, body }, reply) => {
      reply.code(202);
      return facade.blockPull(params.domain, params.disk, body ?? {});
    },
  );
}

function registerJobRoutes(server: FastifyInstance, facade: RouteContext["facade"]): void {
  server.get<{ Params: DiskParams }>("/v1/domains/:domain/disks/:disk/job", async ({ params }, reply) => {
    const job = await facade.blockJob(params.domain, params.disk);
    return job ?? reply.code(204).send();
  });
  server.post<{ Params: DiskParams; Body: BlockJobEndBody | null }>(
    "/v1/domains/:domain/disks/:disk/job/end",
    { schema: { body: blockJobEndBodySchema } },
    ({ params, body }) => facade.endBlockJob(params.domain, params.disk, body?.pivot === true ? "pivot" : "abort"),
  );
  server.put<{ Params: DiskParams; Body: SpeedBody }>(
    "/v1/domains/:domain/disks/:disk/job/speed",
    { schema: { body: speedBodySchema } },
    ({ params, body }) => facade.setBlockJobSpeed(params.domain, params.disk, body.bytesPerS),
  );
}
