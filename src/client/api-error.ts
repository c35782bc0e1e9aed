/** What a client's calls reject with: the daemon's `ErrorBody` as an error. */
import type { ErrorBody } from "../api-types/index.ts";

export class ApiError extends Error {
  /** A code of the error registry: `QM_…`. */
  readonly code: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** What to do next. */
  readonly next: string | undefined;
  /** HTTP status; 0 when there was no answer, or the error came later than its head. */
  readonly status: number;

  constructor(body: ErrorBody, status: number, options?: ErrorOptions) {
    super(body.message, options);
    this.name = "ApiError";
    this.code = body.code;
    this.fields = body.fields;
    this.next = body.next;
    this.status = status;
  }

  toJSON(): ErrorBody {
    const { code, message, fields, next } = this;
    return { code, message, fields, ...(next === undefined ? {} : { next }) };
  }
}

/** The daemon at `path` (a socket or an address) cannot be reached, or went away before its answer was complete. */
export function unreachableError(
  path: string,
  reason: string,
  options?: { cause?: unknown; errno?: string },
): ApiError {
  const fields = { path, reason, ...(options?.errno === undefined ? {} : { errno: options.errno }) };
  const body = { code: "QM_DAEMON_UNREACHABLE", message: `cannot reach qmirrord at ${path}: ${reason}`, fields };
  return new ApiError(body, 0, options?.cause === undefined ? undefined : { cause: options.cause });
}

/** The `ErrorBody` in `value`, if it is one. */
export function asErrorBody(value: unknown): ErrorBody | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { code, message, fields, next } = value as Partial<Record<keyof ErrorBody, unknown>>;
  if (typeof code !== "string" || typeof message !== "string") return undefined;
  return {
    code,
    message,
    fields: typeof fields === "object" && fields !== null ? (fields as Record<string, unknown>) : {},
    ...(typeof next === "string" ? { next } : {}),
  };
}
