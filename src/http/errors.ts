/** Errors on the wire: an `ErrorBody` with the HTTP status that the registry gives its code. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { ErrorBody } from "../api-types/index.ts";
import { errorRegistry } from "../base/error-registry.ts";
import { asQmError, QmError } from "../base/errors.ts";

/** What Fastify adds to its own errors and to ajv's. */
interface FrameworkError extends Error {
  readonly code?: string;
  readonly statusCode?: number;
  readonly validation?: readonly ValidationFault[];
  readonly validationContext?: string;
}

interface ValidationFault {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message?: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** Limit of a request's body: a 4 MiB XML document fits, escaped as JSON in the usual way. */
export const bodyLimitBytes = 5 * 1024 * 1024;

/** Answers `request` with `error`. Errors of the daemon (5xx) go to the log with their cause. */
export function sendError(error: FrameworkError, request: FastifyRequest, reply: FastifyReply): void {
  const qmError = classifyError(error);
  const status = errorRegistry[qmError.code].http;
  if (status >= 500) request.log.error({ err: error }, "request failed");
  void reply.code(status).send(toErrorBody(qmError));
}

/** `error` as it travels. Anything that is not ours becomes `QM_INTERNAL`. */
export function toErrorBody(error: unknown): ErrorBody {
  return asQmError(error).toJSON();
}

function classifyError(error: FrameworkError): QmError {
  if (error instanceof QmError) return error;
  if (error.validation?.[0] !== undefined) {
    const reason = describeFault(error.validation[0], error.validationContext ?? "body");
    return new QmError("QM_INVALID", { reason }, { cause: error });
  }
  if (error.code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    return new QmError("QM_BODY_TOO_LARGE", { limitBytes: bodyLimitBytes }, { cause: error });
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new QmError("QM_INVALID", { reason: error.message }, { cause: error });
  }
  return asQmError(error);
}

function describeFault(fault: ValidationFault, context: string): string {
  const place = `${context}${fault.instancePath}`;
  switch (fault.keyword) {
    case "additionalProperties":
      return `${place} has the unknown property '${String(fault.params["additionalProperty"])}'`;
    case "required":
      return `${place} lacks the property '${String(fault.params["missingProperty"])}'`;
    case "enum":
      return `${place} must be one of ${JSON.stringify(fault.params["allowedValues"])}`;
    default:
      return `${place} ${fault.message ?? "is not valid"}`;
  }
}
