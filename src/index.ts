/**
 * qmirror as a library. {@link QmirrorClient} talks to a daemon; {@link compose} is the daemon's inside for programs that want the
 * service in their own process. Further entrances: `qmirror/qmp`, the QMP client alone, and `qmirror/testing`.
 */
export type * from "./api-types/index.ts";
export { errorRegistry, type ErrorCode, type ErrorEntry, type ErrorFields } from "./base/error-registry.ts";
export { isQmError, QmError, type ErrorJson } from "./base/errors.ts";
export type { Logger } from "./base/logger.ts";
export { ApiError, QmirrorClient, openFetchTransport, type FetchLike, type Transport } from "./client/index.ts";
export { findDaemonPaths, type DaemonPaths } from "./client/daemon-paths.ts";
export { openUnixTransport, type UnixTransport } from "./client/unix-transport.ts";
export { compose, type ComposeConfig } from "./daemon/compose.ts";
export type { Composition } from "./daemon/composition.ts";
export type * from "./model/domain.ts";
export { formatDomain, type FormatDomainOptions } from "./model/domain-format.ts";
export { parseDomain, type ParseDomainOptions } from "./model/domain-parse.ts";
export { parseDiskspec } from "./model/diskspec.ts";
export type { DiskFormat, ImageChain, ImageRef } from "./model/image.ts";
export type {
  DiskMirror,
  DiskSnapshotKind,
  MirrorState,
  Snapshot,
  SnapshotConfig,
  SnapshotDisk,
  SnapshotDiskRequest,
  SnapshotMemory,
  SnapshotRequest,
} from "./model/snapshot.ts";
export { formatSnapshot } from "./model/snapshot-format.ts";
export { parseSnapshotRequest } from "./model/snapshot-parse.ts";
export type { Facade } from "./service/facade.ts";
