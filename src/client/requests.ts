/** Requests of the JSON API over a transport: what the client's methods are made of. */
import { ApiError, asErrorBody } from "./api-error.ts";
import { readJsonLines, readText } from "./read-body.ts";
import type { Transport, TransportRequest, TransportResponse } from "./transport.ts";

/** `true` travels as `1`; what is `false` or undefined does not travel. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * Every call rejects with an `ApiError`: the daemon's, or `QM_DAEMON_UNREACHABLE` when it did not answer. An answer without a
 * body (204) is undefined.
 */
export class ApiRequests {
  readonly #send: Transport;

  constructor(transport: Transport) {
    this.#send = transport;
  }

  get<T>(path: string): Promise<T> {
    return this.#request({ method: "GET", path });
  }

  post<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    return this.#request({ method: "POST", path, ...optionalParts(body, signal) });
  }

  put<T>(path: string, body: unknown): Promise<T> {
    return this.#request({ method: "PUT", path, ...optionalParts(body, undefined) });
  }

  delete<T>(path: string, signal?: AbortSignal): Promise<T> {
    return this.#request({ method: "DELETE", path, ...optionalParts(undefined, signal) });
  }

  /** Each line of an endless answer; ends quietly when `signal` aborts. */
  async *stream<T>(path: string, signal: AbortSignal | undefined): AsyncGenerator<T, void, undefined> {
    try {
      const response = await this.#sendOrThrow({ method: "GET", path, ...optionalParts(undefined, signal) });
      for await (const line of readJsonLines(response.chunks)) {
        const failure = asStreamError(line);
        if (failure !== undefined) throw failure;
        yield line as T;
      }
    } catch (error) {
      if (signal?.aborted !== true) throw error;
    }
  }

  async #request<T>(request: TransportRequest): Promise<T> {
    const response = await this.#sendOrThrow(request);
    const text = await readText(response.chunks);
    // A route that may answer 204 is called with a T that undefined is part of.
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  async #sendOrThrow(request: TransportRequest): Promise<TransportResponse> {
    const response = await this.#send(request);
    if (response.status >= 200 && response.status < 300) return response;
    const text = await readText(response.chunks);
    throw new ApiError(parseErrorBody(text) ?? notOurAnswer(response.status, text), response.status);
  }
}

/** `?a=1&b=x`, or nothing. */
export function toQuery(query: Query): string {
  const pairs = Object.entries(query).flatMap(([key, value]) =>
    value === undefined || value === false ? [] : [`${key}=${encodeURIComponent(value === true ? 1 : value)}`],
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

function optionalParts(body: unknown, signal: AbortSignal | undefined) {
  return {
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  };
}

function asStreamError(line: unknown): ApiError | undefined {
  if (typeof line !== "object" || line === null || !("streamError" in line)) return undefined;
  const body = asErrorBody(line.streamError);
  return body === undefined ? undefined : new ApiError(body, 0);
}

function parseErrorBody(text: string) {
  try {
    return asErrorBody(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function notOurAnswer(status: number, text: string) {
  const reason = `unexpected answer with status ${status}: ${text.slice(0, 200)}`;
  return { code: "QM_INTERNAL", message: `internal error: ${reason}`, fields: { reason } };
}
