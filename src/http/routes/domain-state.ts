/** What is done to a domain as a whole: its run, its memory, its guest, its name. */
import type { FastifyInstance } from "fastify";
import type { FreezeBody, FreezeView, RenameBody, RestoreBody, SaveBody, ShutdownBody } from "../../api-types/index.ts";
import { refuseConflicts } from "../../base/option-conflicts.ts";
import { stateAfterwardsRules } from "../../service/snapshot-options.ts";
import {
  freezeBodySchema,
  renameBodySchema,
  restoreBodySchema,
  saveBodySchema,
  shutdownBodySchema,
} from "../schemas.ts";
import type { DomainParams, RouteContext } from "./context.ts";

export function registerDomainStateRoutes(server: FastifyInstance, { facade }: RouteContext): void {
  server.get<{ Params: DomainParams }>("/v1/domains/:domain/info", ({ params }) => facade.domainInfo(params.domain));
  server.post<{ Params: DomainParams }>("/v1/domains/:domain/suspend", ({ params }) =>
    facade.suspendDomain(params.domain),
  );
  server.post<{ Params: DomainParams }>("/v1/domains/:domain/resume", ({ params }) =>
    facade.resumeDomain(params.domain),
  );
  server.post<{ Params: DomainParams; Body: RenameBody }>(
    "/v1/domains/:domain/rename",
    { schema: { body: renameBodySchema } },
    ({ params, body }) => facade.renameDomain(params.domain, body.newName),
  );
  server.post<{ Params: DomainParams; Body: SaveBody }>(
    "/v1/domains/:domain/save",
    { schema: { body: saveBodySchema } },
    async ({ params, body }) => {
      refuseConflicts(body, stateAfterwardsRules);
      return facade.saveDomain(params.domain, body);
    },
  );
  server.post<{ Body: RestoreBody }>(
    "/v1/domains/restore",
    { schema: { body: restoreBodySchema } },
    async ({ body }) => {
      refuseConflicts(body, stateAfterwardsRules);
      return facade.restoreDomain(body);
    },
  );
  registerGuestRoutes(server, facade);
}

/** What only the guest can do. */
function registerGuestRoutes(server: FastifyInstance, facade: RouteContext["facade"]): void {
  const power = { schema: { body: shutdownBodySchema } };
  type PowerRoute = { Params: DomainParams; Body: ShutdownBody | null };
  server.post<PowerRoute>("/v1/domains/:domain/shutdown", power, async ({ params, body }, reply) => {
    await facade.shutdownDomain(params.domain, body ?? {});
    return reply.code(204).send();
  });
  server.post<PowerRoute>("/v1/domains/:domain/reboot", power, async ({ params, body }, reply) => {
    await facade.rebootDomain(params.domain, body ?? {});
    return reply.code(204).send();
  });
  const freezing = { schema: { body: freezeBodySchema } };
  type FreezeRoute = { Params: DomainParams; Body: FreezeBody | null };
  server.post<FreezeRoute>("/v1/domains/:domain/freeze", freezing, async ({ params, body }): Promise<FreezeView> => ({
    filesystems: await facade.freezeFilesystems(params.domain, body?.mountpoints),
  }));
  server.post<FreezeRoute>("/v1/domains/:domain/thaw", freezing, async ({ params, body }): Promise<FreezeView> => ({
    filesystems: await facade.thawFilesystems(params.domain, body?.mountpoints),
  }));
}
