/** The HTTP client, as far as it runs anywhere. `unix-transport.ts` and `daemon-paths.ts` are for Node alone. */
export type * from "../api-types/index.ts";
export { ApiError } from "./api-error.ts";
export { QmirrorClient } from "./client.ts";
export { openFetchTransport, type FetchLike } from "./fetch-transport.ts";
export type { Transport, TransportRequest, TransportResponse } from "./transport.ts";
