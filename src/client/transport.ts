/** How a client's requests travel. A transport knows nothing of routes, a client nothing of sockets. */

export interface TransportRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Path and query, percent-encoded. */
  readonly path: string;
  /** JSON text; absent: no body. */
  readonly body?: string;
  /** Gives the request up, also while its answer is being read. */
  readonly signal?: AbortSignal;
}

export interface TransportResponse {
  readonly status: number;
  /** The body as it arrives; leaving the iteration early drops the rest. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Sends one request. Rejects with an `ApiError` of code `QM_DAEMON_UNREACHABLE` when there is no answer. */
export type Transport = (request: TransportRequest) => Promise<TransportResponse>;
