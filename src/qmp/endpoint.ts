/** Where the peer is: a UNIX socket, or a stream that someone else has opened. */
import { createConnection, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { withLimits, type Limits } from "../base/abort.ts";
import { QmError, errorText, isQmError } from "../base/errors.ts";

export type Endpoint = { readonly path: string } | { readonly stream: Duplex };

export function nameEndpoint(endpoint: Endpoint): string {
  return "path" in endpoint ? endpoint.path : "stream";
}

/** The stream to the peer; connecting may go on, and fail on the stream later. Throws `QM_QMP_CONNECT` for a path that cannot be. */
export function openStream(endpoint: Endpoint): Duplex {
  if ("stream" in endpoint) return endpoint.stream;
  try {
    return createConnection(endpoint.path);
  } catch (error) {
    throw connectError(endpoint, error);
  }
}

/** Calls `start` as soon as the stream is connected. */
export function whenConnected(stream: Duplex, start: () => void): void {
  if (stream instanceof Socket && stream.connecting) stream.once("connect", start);
  else start();
}

/** Waits for `ready` within `limits`; what fails is closed, and reported as a failure to connect where it was one. */
export async function awaitReady(
  endpoint: Endpoint,
  what: string,
  peer: { readonly ready: Promise<void>; close(): Promise<void> },
  limits: Limits,
): Promise<void> {
  try {
    await withLimits(what, peer.ready, limits);
  } catch (error) {
    await peer.close();
    throw isQmError(error, "QM_QMP_LOST") || isQmError(error, "QM_QMP_COMMAND") ? connectError(endpoint, error) : error;
  }
}

function connectError(endpoint: Endpoint, error: unknown): QmError<"QM_QMP_CONNECT"> {
  const reason = isQmError(error, "QM_QMP_LOST")
    ? error.cause === undefined
      ? "it closed the connection"
      : errorText(error.cause)
    : errorText(error);
  return new QmError("QM_QMP_CONNECT", { path: nameEndpoint(endpoint), reason }, { cause: error });
}
