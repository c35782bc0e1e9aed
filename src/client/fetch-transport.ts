/** A transport over the web's `fetch`, for browsers. */
import { unreachableError } from "./api-error.ts";
import type { Transport } from "./transport.ts";

/** The part of `fetch` that is used, so that neither the DOM's nor Node's types are needed. */
export type FetchLike = (
  url: string,
  init: { method: string; headers: Record<string, string>; body?: string; signal?: AbortSignal },
) => Promise<{ readonly status: number; readonly body: ReadableBody | null }>;

interface ReadableBody {
  getReader(): {
    read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
    cancel(): Promise<void>;
  };
}

/**
 * Requests go to `baseUrl` (no slash at its end; empty for the page's own origin) with `headers` added, for a token say.
 */
export function openFetchTransport(
  fetch: FetchLike,
  baseUrl: string,
  headers: Readonly<Record<string, string>> = {},
): Transport {
  return async ({ method, path, body, signal }) => {
    try {
      const response = await fetch(`${baseUrl}${path}`, {
        method,
        headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
      });
      return { status: response.status, chunks: readChunks(response.body) };
    } catch (error) {
      if (signal?.aborted === true) throw error;
      throw unreachableError(baseUrl || "this page's address", error instanceof Error ? error.message : String(error), {
        cause: error,
      });
    }
  };
}

async function* readChunks(body: ReadableBody | null): AsyncGenerator<Uint8Array, void, undefined> {
  if (body === null) return;
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      if (value !== undefined) yield value;
    }
  } finally {
    await reader.cancel();
  }
}
