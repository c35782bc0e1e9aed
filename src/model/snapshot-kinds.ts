/** Which kind of snapshot each disk and the memory get: libvirt's `qemuSnapshotCreateAlignDisks` and `qemuSnapshotPrepare`. */
import { QmError } from "../base/errors.ts";
import type { Disk, DomainDefinition } from "./domain.ts";
import type { DiskSnapshotKind, SnapshotDiskRequest, SnapshotMemory, SnapshotState } from "./snapshot.ts";

export interface KindOptions {
  /** QEMU is alive, whether the guest is paused or not. */
  readonly running: boolean;
  /** Of a running domain: its vCPUs are stopped. */
  readonly paused: boolean;
  /** Keep no memory of a running domain. */
  readonly diskOnly: boolean;
  /** The memory is saved while the guest runs on. */
  readonly live: boolean;
}

export interface SnapshotKinds {
  readonly state: SnapshotState;
  readonly memory: SnapshotMemory["snapshot"];
  /** One for each disk of the domain, by target. */
  readonly disks: ReadonlyMap<string, DiskSnapshotKind>;
}

type Requests = ReadonlyMap<string, SnapshotDiskRequest>;
type AskedKinds = ReadonlyMap<string, DiskSnapshotKind | undefined>;

/**
 * Chooses every kind that the request leaves open, and refuses what does not go together. `requests` is by target.
 * Errors: `QM_INVALID`, `QM_DOMAIN_NOT_RUNNING` (a mirror), `QM_XML_INVALID` (a file for a disk that is not external).
 */
export function chooseKinds(
  domain: DomainDefinition,
  requests: Requests,
  memory: SnapshotMemory["snapshot"] | undefined,
  options: KindOptions,
): SnapshotKinds {
  const asked = new Map(domain.disks.map((disk) => [disk.target, askedKind(disk, requests.get(disk.target))]));
  const { fallback, ...chosen } = options.running
    ? chooseForRunning(requests, asked, memory, options)
    : chooseForInactive(domain, requests, memory, options);
  const disks = new Map([...asked].map(([target, kind]) => [target, kind ?? fallback]));
  if (options.live && chosen.memory !== "external") refuse("a live snapshot needs memory that is saved in a file");
  const kinds = [...disks.values()];
  if (chosen.memory === "internal" && !kinds.includes("internal")) {
    refuse("an internal snapshot needs an internal disk, whose image then holds the memory");
  }
  if (chosen.memory === "no" && !kinds.includes("internal") && !kinds.includes("external")) {
    refuse(`domain '${domain.name}' has no disk to snapshot`);
  }
  for (const disk of domain.disks) if (disks.get(disk.target) === "internal") checkHoldsSnapshots(disk);
  return { ...chosen, disks };
}

/** What the request says of a disk by name, by its overlay or by its mirror; `no` for a disk that cannot take part. */
function askedKind(disk: Disk, request: SnapshotDiskRequest | undefined): DiskSnapshotKind | undefined {
  const where = `disk '${disk.target}'`;
  const { snapshot, source, mirror, format } = request ?? {};
  const hasFile = source !== undefined || mirror !== undefined;
  if (hasFile && snapshot !== undefined && snapshot !== "external") {
    const what = mirror === undefined ? "source" : "mirror";
    throw new QmError("QM_XML_INVALID", { element: where, reason: `a <${what}> needs snapshot='external'` });
  }
  if (disk.device !== "disk" || disk.readonly || disk.source === undefined) {
    if (hasFile || (snapshot !== undefined && snapshot !== "no")) {
      refuse(`${where} is a cdrom or read-only and cannot be snapshot`, disk.target);
    }
    return "no";
  }
  return snapshot ?? (hasFile || format !== undefined ? "external" : undefined);
}

interface Choice {
  readonly state: SnapshotState;
  readonly memory: SnapshotMemory["snapshot"];
  /** For the disks that nothing was said of. */
  readonly fallback: "internal" | "external";
}

function chooseForInactive(
  domain: DomainDefinition,
  requests: Requests,
  memory: SnapshotMemory["snapshot"] | undefined,
  { diskOnly }: KindOptions,
): Choice {
  if (memory !== undefined && memory !== "no") {
    refuse(`domain '${domain.name}' is not running: there is no memory to keep`);
  }
  if (hasMirror(requests)) throw new QmError("QM_DOMAIN_NOT_RUNNING", { domain: domain.name });
  return { state: "shutoff", memory: "no", fallback: diskOnly ? "external" : "internal" };
}

/** Memory and disks of a running domain are of one kind: QEMU saves them as one, or into files beside them. */
function chooseForRunning(
  requests: Requests,
  asked: AskedKinds,
  memory: SnapshotMemory["snapshot"] | undefined,
  { paused, diskOnly }: KindOptions,
): Choice {
  if (diskOnly && memory !== undefined && memory !== "no") {
    refuse(`a disk-only snapshot keeps no memory, but '${memory}' memory is asked for`);
  }
  const internal = findKind(asked, "internal");
  const external = findKind(asked, "external");
  if (internal !== undefined && external !== undefined) {
    const which = `'${internal}' is internal, '${external}' is external`;
    refuse(`internal and external disks cannot be mixed while the domain runs: ${which}`, internal);
  }
  const isMemoryLeft = diskOnly || memory === "no" || (memory === undefined && hasMirror(requests));
  const kind = isMemoryLeft ? "no" : (memory ?? (external === undefined ? "internal" : "external"));
  const other = kind === "internal" ? external : internal;
  if (other !== undefined) {
    refuse(
      isMemoryLeft
        ? `disk '${other}': an internal snapshot of a running domain keeps its memory too`
        : `disk '${other}' is ${kind === "internal" ? "external" : "internal"}, but the memory is ${kind}`,
      other,
    );
  }
  const manual = findKind(asked, "manual");
  if (manual !== undefined && !isMemoryLeft) {
    refuse(`disk '${manual}' is manual, which does not go with the memory of a running domain`, manual);
  }
  const state = isMemoryLeft ? "disk-snapshot" : paused ? "paused" : "running";
  return { state, memory: kind, fallback: kind === "internal" ? "internal" : "external" };
}

function findKind(asked: AskedKinds, wanted: DiskSnapshotKind): string | undefined {
  return [...asked].find(([, kind]) => kind === wanted)?.[0];
}

function hasMirror(requests: Requests): boolean {
  return [...requests.values()].some(({ mirror }) => mirror !== undefined);
}

/** An internal snapshot is a part of its image: qcow2 alone has room for it. */
function checkHoldsSnapshots({ target, source }: Disk): void {
  if (source === undefined || source.format === "qcow2") return;
  refuse(`internal snapshot for disk '${target}' unsupported for storage type ${source.format}`, target);
}

function refuse(reason: string, disk?: string): never {
  throw new QmError("QM_INVALID", { reason, ...(disk === undefined ? {} : { disk }) });
}
