import type { FastifyInstance } from "fastify";
import type { VersionView } from "../../api-types/index.ts";
import type { RouteContext } from "./context.ts";

export function registerVersionRoutes(server: FastifyInstance, { version }: RouteContext): void {
  server.get("/v1/version", async (): Promise<VersionView> => ({ version, api: "v1" }));
}
