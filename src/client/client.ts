/** A client of qmirrord's HTTP API: a method for each route of docs/reference/http.md. Runs in browsers too. */
import type {
  AttachBody,
  CloneBody,
  DiskView,
  DoctorCheck,
  DomainView,
  EventView,
  MigrateBody,
  OperationView,
  SnapshotCreateBody,
  SnapshotCreatedView,
  SnapshotView,
  VersionView,
  XmlView,
} from "../api-types/index.ts";
import { ApiError, asErrorBody, unreachableError } from "./api-error.ts";
import { readJsonLines, readText } from "./read-body.ts";
import type { Transport, TransportRequest, TransportResponse } from "./transport.ts";

type Query = Readonly<Record<string, string | number | undefined>>;

/**
 * Every call rejects with an `ApiError`: the daemon's, or `QM_DAEMON_UNREACHABLE` when it did not answer. `domain` is a name
 * or a uuid. A `signal` gives up waiting (the call rejects with the signal's reason), not what was asked for.
 */
export class QmirrorClient {
  readonly #send: Transport;

  constructor(transport: Transport) {
    this.#send = transport;
  }

  version(): Promise<VersionView> {
    return this.#get("/v1/version");
  }

  listDomains(): Promise<DomainView[]> {
    return this.#get("/v1/domains");
  }
  getDomain(domain: string): Promise<DomainView> {
    return this.#get(domainPath(domain));
  }
  defineDomain(xml: string): Promise<DomainView> {
    return this.#post("/v1/domains", { xml });
  }
  createDomain(xml: string): Promise<DomainView> {
    return this.#post("/v1/domains/create", { xml });
  }
  attachDomain(body: AttachBody): Promise<DomainView> {
    return this.#post("/v1/domains/attach", body);
  }
  startDomain(domain: string): Promise<DomainView> {
    return this.#post(`${domainPath(domain)}/start`);
  }
  destroyDomain(domain: string): Promise<DomainView> {
    return this.#post(`${domainPath(domain)}/destroy`);
  }
  async undefineDomain(domain: string): Promise<void> {
    await this.#request({ method: "DELETE", path: domainPath(domain) });
  }
  async detachDomain(domain: string): Promise<void> {
    await this.#request({ method: "POST", path: `${domainPath(domain)}/detach` });
  }
  async domainXml(domain: string, options: { inactive?: boolean } = {}): Promise<string> {
    const query = { inactive: options.inactive === true ? 1 : undefined };
    return (await this.#get<XmlView>(`${domainPath(domain)}/xml${toQuery(query)}`)).xml;
  }
  domainDisks(domain: string): Promise<DiskView[]> {
    return this.#get(`${domainPath(domain)}/disks`);
  }

  listSnapshots(domain: string): Promise<SnapshotView[]> {
    return this.#get(`${domainPath(domain)}/snapshots`);
  }
  /** Resolves when the snapshot is taken and every mirror is ready. */
  createSnapshot(domain: string, body: SnapshotCreateBody, signal?: AbortSignal): Promise<SnapshotCreatedView> {
    return this.#post(`${domainPath(domain)}/snapshots`, body, signal);
  }
  getSnapshot(domain: string, snapshot: string): Promise<SnapshotView> {
    return this.#get(snapshotPath(domain, snapshot));
  }
  async snapshotXml(domain: string, snapshot: string): Promise<string> {
    return (await this.#get<XmlView>(`${snapshotPath(domain, snapshot)}/xml`)).xml;
  }
  endMirrors(
    domain: string,
    snapshot: string,
    mirror: "pivot" | "abort",
    signal?: AbortSignal,
  ): Promise<OperationView> {
    return this.#post(`${snapshotPath(domain, snapshot)}/end-mirrors`, { mirror }, signal);
  }

  /** Resolves when the operation has begun: `watchOperation` follows it. */
  migrateStorage(domain: string, body: MigrateBody): Promise<OperationView> {
    return this.#post(`${domainPath(domain)}/migrate-storage`, body);
  }
  /** Resolves when the operation has begun: `watchOperation` follows it. */
  cloneStorage(domain: string, body: CloneBody): Promise<OperationView> {
    return this.#post(`${domainPath(domain)}/clone-storage`, body);
  }

  /** Newest first. */
  listOperations(
    filter: { domain?: string | undefined; running?: boolean | undefined } = {},
  ): Promise<OperationView[]> {
    const running = filter.running === undefined ? undefined : Number(filter.running);
    return this.#get(`/v1/operations${toQuery({ domain: filter.domain, running })}`);
  }
  getOperation(id: string): Promise<OperationView> {
    return this.#get(operationPath(id));
  }
  /** Resolves when it has ended. */
  cancelOperation(id: string, signal?: AbortSignal): Promise<OperationView> {
    return this.#post(`${operationPath(id)}/cancel`, undefined, signal);
  }
  setSpeed(id: string, bytesPerS: number): Promise<OperationView> {
    return this.#request({ method: "PUT", path: `${operationPath(id)}/speed`, body: JSON.stringify({ bytesPerS }) });
  }

  /**
   * The operation as it is, then each change; ends with its final state, or quietly when `signal` aborts. Rejects with
   * `QM_DAEMON_UNREACHABLE` when the daemon ends first: the operation is in its journal all the same.
   */
  async *watchOperation(id: string, signal?: AbortSignal): AsyncGenerator<OperationView, void, undefined> {
    const path = `${operationPath(id)}/watch`;
    let state: OperationView["state"] = "running";
    for await (const view of this.#stream<OperationView>(path, signal)) {
      state = view.state;
      yield view;
    }
    if (state === "running" && signal?.aborted !== true) {
      throw unreachableError(path, "the daemon stopped while the operation was running");
    }
  }

  /** Events after `since`, or new ones when absent. Ends when the daemon does, or quietly when `signal` aborts. */
  watchEvents(
    filter: { domain?: string | undefined; since?: number | undefined } = {},
    signal?: AbortSignal,
  ): AsyncGenerator<EventView, void, undefined> {
    return this.#stream(`/v1/events${toQuery({ domain: filter.domain, since: filter.since })}`, signal);
  }

  doctor(): Promise<DoctorCheck[]> {
    return this.#get("/v1/doctor");
  }

  #get<T>(path: string): Promise<T> {
    return this.#request<T>({ method: "GET", path });
  }

  #post<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    return this.#request<T>({
      method: "POST",
      path,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  async #request<T>(request: TransportRequest): Promise<T> {
    const response = await this.#sendOrThrow(request);
    const text = await readText(response.chunks);
    // A route without a result answers 204 and is called with T = void.
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  async *#stream<T>(path: string, signal: AbortSignal | undefined): AsyncGenerator<T, void, undefined> {
    try {
      const response = await this.#sendOrThrow({ method: "GET", path, ...(signal === undefined ? {} : { signal }) });
      for await (const line of readJsonLines(response.chunks)) {
        const failure = asStreamError(line);
        if (failure !== undefined) throw failure;
        yield line as T;
      }
    } catch (error) {
      if (signal?.aborted !== true) throw error;
    }
  }

  async #sendOrThrow(request: TransportRequest): Promise<TransportResponse> {
    const response = await this.#send(request);
    if (response.status >= 200 && response.status < 300) return response;
    const text = await readText(response.chunks);
    throw new ApiError(parseErrorBody(text) ?? notOurAnswer(response.status, text), response.status);
  }
}

function domainPath(domain: string): string {
  return `/v1/domains/${encodeURIComponent(domain)}`;
}

function snapshotPath(domain: string, snapshot: string): string {
  return `${domainPath(domain)}/snapshots/${encodeURIComponent(snapshot)}`;
}

function operationPath(id: string): string {
  return `/v1/operations/${encodeURIComponent(id)}`;
}

function toQuery(query: Query): string {
  const pairs = Object.entries(query).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${encodeURIComponent(value)}`],
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
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
