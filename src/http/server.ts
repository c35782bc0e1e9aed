/** The daemon's HTTP API: see docs/reference/http.md. */
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from "fastify";
import { errorRegistry } from "../base/error-registry.ts";
import { QmError } from "../base/errors.ts";
import type { Facade } from "../service/facade.ts";
import { bodyLimitBytes, sendError, toErrorBody } from "./errors.ts";
import { OpenStreams } from "./ndjson.ts";
import { registerRoutes } from "./routes/index.ts";

export interface ServerOptions {
  readonly facade: Facade;
  readonly logger: FastifyBaseLogger;
  /** The daemon's version, for `GET /v1/version`. */
  readonly version: string;
}

/** Longest name in a path, in characters before decoding. */
const maxParamLength = 4096;
/** How long a client may take to send a request, its body too. Answers take as long as they take. */
export const requestTimeoutMs = 60_000;

/**
 * A server that does not listen yet. Every answer that is an error is an `ErrorBody` with the registry's status. Closing it
 * ends the open streams first. It does no authentication: what it listens on must admit the operator alone.
 */
export function buildServer({ facade, logger, version }: ServerOptions): FastifyInstance {
  const server = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    exposeHeadRoutes: false,
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    // How often Node looks for requests that are late.
    http: { connectionsCheckingInterval: 2_000 },
    routerOptions: { maxParamLength },
    frameworkErrors: (error, request, reply) => sendError(error, request, reply),
    // Nothing is coerced or silently taken out: what a client misspells must not be ignored.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false } },
  });
  const streams = new OpenStreams();
  server.addHook("preClose", async () => streams.endAll());
  server.addHook("onResponse", async (request, reply) => {
    const { method, routeOptions } = request;
    request.log.debug({ method, route: routeOptions.url, status: reply.statusCode, ms: reply.elapsedTime }, "answered");
  });
  server.setErrorHandler(sendError);
  server.setNotFoundHandler((request, reply) => {
    const error = new QmError("QM_NO_ROUTE", { method: request.method, path: request.url });
    void reply.code(errorRegistry[error.code].http).send(toErrorBody(error));
  });
  registerRoutes(server, { facade, streams, version });
  return server;
}
