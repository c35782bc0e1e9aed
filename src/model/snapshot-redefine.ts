import { ElementReader } from "../xml/element-reader.ts";
import type { XmlElement } from "../xml/element.ts";
import { readXml } from "../xml/read.ts";
import { writeXml } from "../xml/write.ts";
import { parseUuid, readDomain } from "./domain-parse.ts";
import type { DomainDefinition } from "./domain.ts";
import { readCount } from "./memory-size.ts";
import { checkSnapshotName } from "./names.ts";
import { readOverlay } from "./snapshot-disk-parse.ts";
import { readSnapshotMemory } from "./snapshot-parse.ts";
import {
  diskSnapshotKinds,
  snapshotStates,
  type Snapshot,
  type SnapshotConfig,
  type SnapshotDisk,
  type SnapshotMemory,
  type SnapshotState,
} from "./snapshot.ts";

export interface SnapshotRedefinition {
  readonly snapshot: Snapshot;
  /** Absent where the document holds the domain's uuid alone; then no disk has a `base`. */
  readonly config?: SnapshotConfig;
  /** What `<active>` says, where it is there. */
  readonly current?: boolean;
}

/**
 * Reads back what `formatSnapshot` writes, to record a snapshot that exists (`--redefine`): nothing of it is dropped but a mirror,
 * which a document cannot start again. `name`, `state`, `creationTime`, `disks` and the domain's uuid must be there. A disk's `base` is
 * its `<source>` in the embedded `<domain>`.
 *
 * `domain` is the one that it is recorded for. Whether the parent exists, and its images, is for the caller to check.
 * Errors: those of `readXml`; `QM_XML_UNSUPPORTED` (states that we do not record, `<domain>` outside of our subset);
 * `QM_XML_INVALID` (what is missing, another domain's uuid, a disk that `<domain>` has not, memory that the state excludes).
 */
export function parseSnapshotRedefinition(
  xml: string,
  domain: Pick<DomainDefinition, "name" | "uuid">,
): SnapshotRedefinition {
  const root = readXml(xml);
  return ElementReader.readRoot(root, "domainsnapshot", (e) => {
    const name = e.requireChild("name", (child) => checkSnapshotName(child.text(), child.path));
    const description = e.child("description", (child) => child.text());
    const state = e.requireChild("state", (child) => child.textChoice(snapshotStates));
    const parent = e.child("parent", (child) =>
      child.requireChild("name", (inner) => checkSnapshotName(inner.text(), inner.path)),
    );
    const creationTime = e.requireChild("creationTime", (child) => readCount(child, child.token()));
    const memory = readMemoryFor(state, e);
    const config = readConfig(e, root, domain.uuid);
    const disks = e.requireChild("disks", (child) => readDisks(child, config?.domain));
    const cookie = readCookie(e, root);
    const current = e.child("active", (child) => child.textChoice(["0", "1"] as const) === "1");
    const snapshot = {
      name,
      ...(description === undefined ? {} : { description }),
      ...(parent === undefined ? {} : { parent }),
      creationTime,
      state,
      ...(memory === undefined ? {} : { memory }),
      domainUuid: domain.uuid,
      domainName: domain.name,
      disks,
      ...(cookie === undefined ? {} : { cookie }),
    };
    return { snapshot, ...(config === undefined ? {} : { config }), ...(current === undefined ? {} : { current }) };
  });
}

/** Documents without `<memory>` come from libvirt before 1.0.1, which kept a running domain's memory inside of its image. */
function readMemoryFor(state: SnapshotState, snapshot: ElementReader): SnapshotMemory | undefined {
  const isMemoryLeft = state === "disk-snapshot" || state === "shutoff";
  const memory = snapshot.child("memory", (e) => {
    const read = readSnapshotMemory(e);
    if (read?.snapshot === "external" && read.file === undefined) e.fail("is missing", "@file");
    if (isMemoryLeft && read !== undefined && read.snapshot !== "no") {
      e.fail(`'${read.snapshot}' does not go with the state '${state}'`, "@snapshot");
    }
    return read;
  });
  if (isMemoryLeft || memory?.snapshot === "no") return undefined;
  return memory ?? { snapshot: "internal" };
}

function readConfig(snapshot: ElementReader, root: XmlElement, uuid: string): SnapshotConfig | undefined {
  const readOne = (e: ElementReader): DomainDefinition => {
    const definition = readDomain(e, () => e.fail("has no <uuid>"));
    checkUuid(e, definition.uuid, uuid);
    return definition;
  };
  const inactiveDomain = snapshot.child("inactiveDomain", readOne);
  if (holdsUuidOnly(root)) {
    snapshot.requireChild("domain", (e) => checkUuid(e, e.requireChild("uuid", parseUuid), uuid));
    return inactiveDomain === undefined ? undefined : snapshot.fail("has an <inactiveDomain> without a whole <domain>");
  }
  const definition = snapshot.requireChild("domain", readOne);
  return { domain: definition, ...(inactiveDomain === undefined ? {} : { inactiveDomain }) };
}

function holdsUuidOnly(root: XmlElement): boolean {
  const domain = root.children.find(({ name }) => name === "domain");
  return domain?.attributes.size === 0 && domain.children.every(({ name }) => name === "uuid");
}

function checkUuid(domain: ElementReader, found: string, expected: string): void {
  if (found !== expected) domain.fail(`${found} is not the domain's, which is ${expected}`, "/uuid");
}

function readDisks(list: ElementReader, domain: DomainDefinition | undefined): SnapshotDisk[] {
  const disks = list.children("disk", (disk) => readDisk(disk, domain));
  const repeated = disks.find(({ target }, index) => disks.findIndex((one) => one.target === target) !== index);
  return repeated === undefined ? disks : list.fail(`disk '${repeated.target}' is named twice`, "/disk");
}

function readDisk(disk: ElementReader, domain: DomainDefinition | undefined): SnapshotDisk {
  const target = disk.requireAttribute("name");
  const defined = domain?.disks.find((one) => one.target === target);
  if (domain !== undefined && defined === undefined) disk.fail(`'${target}' is no disk of the <domain>`, "@name");
  const { source, format } = readOverlay(disk);
  disk.ignore("mirror");
  const snapshot =
    disk.choice("snapshot", diskSnapshotKinds) ??
    (source === undefined ? disk.fail("is missing", "@snapshot") : "external");
  const base = defined?.source === undefined ? {} : { base: defined.source };
  if (snapshot === "external") {
    if (source === undefined) disk.fail("has no <source>: the overlay of an existing snapshot must be named");
    return { target, snapshot, source: { ...source, format: format ?? "qcow2" }, ...base };
  }
  if (source !== undefined) disk.fail("needs snapshot='external'", "/source");
  return { target, snapshot, ...(snapshot === "internal" ? base : {}) };
}

/** The element by itself, so that it needs the prefixes that its document's root declares. */
function readCookie(snapshot: ElementReader, root: XmlElement): string | undefined {
  snapshot.ignore("cookie");
  const [cookie, second] = root.children.filter(({ name, namespace }) => name === "cookie" && namespace === undefined);
  if (second !== undefined) snapshot.fail("has two <cookie>s");
  if (cookie === undefined) return undefined;
  const declarations = { ...root.declarations, ...cookie.declarations };
  return writeXml(Object.keys(declarations).length === 0 ? cookie : { ...cookie, declarations });
}
