import type { FastifyInstance } from "fastify";
import type { RouteContext } from "./context.ts";

export function registerDoctorRoutes(server: FastifyInstance, { facade }: RouteContext): void {
  server.get("/v1/doctor", () => facade.doctor());
}
