/** A transport over a UNIX socket, for Node. */
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { unreachableError } from "./api-error.ts";
import type { Transport, TransportRequest, TransportResponse } from "./transport.ts";

export interface UnixTransport {
  readonly send: Transport;
  /** Closes its connections; requests under way fail. */
  close(): void;
}

/** Requests go over kept-alive connections to the socket at `socketPath`; nothing is connected before the first one. */
export function openUnixTransport(socketPath: string): UnixTransport {
  const agent = new Agent({ keepAlive: true });
  const send: Transport = (request) => sendOnce(agent, socketPath, request, true);
  return { send, close: () => agent.destroy() };
}

function sendOnce(
  agent: Agent,
  socketPath: string,
  request: TransportRequest,
  mayRepeat: boolean,
): Promise<TransportResponse> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({
      socketPath,
      agent,
      method: request.method,
      path: request.path,
      headers: { host: "localhost", ...(request.body === undefined ? {} : { "content-type": "application/json" }) },
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    });
    outgoing.once("response", (response) => {
      resolve({ status: response.statusCode ?? 0, chunks: readChunks(response, socketPath, request.signal) });
    });
    outgoing.once("error", (error: NodeJS.ErrnoException) => {
      if (request.signal?.aborted === true) {
        reject(error);
      } else if (mayRepeat && outgoing.reusedSocket && error.code === "ECONNRESET" && request.method === "GET") {
        // The daemon closed the idle connection just as this request went out: it was not read, or harmless if it was.
        resolve(sendOnce(agent, socketPath, request, false));
      } else {
        reject(
          unreachableError(socketPath, describeFailure(error, request), { cause: error, errno: error.code ?? "" }),
        );
      }
    });
    outgoing.end(request.body);
  });
}

async function* readChunks(response: IncomingMessage, socketPath: string, signal: AbortSignal | undefined) {
  try {
    for await (const chunk of response) yield chunk as Uint8Array;
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw unreachableError(socketPath, "the connection ended before the answer was complete", { cause: error });
  }
}

function describeFailure(error: NodeJS.ErrnoException, request: TransportRequest): string {
  switch (error.code) {
    case "ENOENT":
    case "ECONNREFUSED":
      return "no daemon listens there";
    case "EACCES":
      return "permission denied";
    case "ECONNRESET":
      return request.method === "GET"
        ? "the connection was reset"
        : "the connection was reset before the answer; the request may have been carried out";
    default:
      return error.message;
  }
}
