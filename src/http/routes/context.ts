/** What routes work with. */
import type { Facade } from "../../service/facade.ts";
import type { OpenStreams } from "../ndjson.ts";

export interface RouteContext {
  readonly facade: Facade;
  readonly streams: OpenStreams;
  readonly version: string;
}

export interface DomainParams {
  /** Name or uuid, decoded. */
  readonly domain: string;
}

export interface DiskParams extends DomainParams {
  /** Target, `vda`. */
  readonly disk: string;
}

export interface SnapshotParams extends DomainParams {
  readonly snapshot: string;
}

export interface OperationParams {
  readonly id: string;
}
