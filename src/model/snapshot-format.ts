import type { DomainDefinition } from "./domain.ts";
import { buildDomain } from "./domain-format.ts";
import { makeElement, type XmlElement } from "../xml/element.ts";
import { readXml } from "../xml/read.ts";
import { writeXml } from "../xml/write.ts";
import { formatMirror, formatSource } from "./image-xml.ts";
import type { Snapshot, SnapshotConfig, SnapshotDisk, SnapshotMemory } from "./snapshot.ts";

export interface FormatSnapshotOptions {
  /** Writes the whole `<domain>`, and `<inactiveDomain>` where it differs. Absent: the domain's uuid alone. */
  readonly config?: SnapshotConfig;
  /** Given: `<active>` tells whether the snapshot is the domain's current one, as in libvirt's own files. */
  readonly current?: boolean;
}

/**
 * Writes `<domainsnapshot>` in libvirt's order of elements, with `<mirror>` where a disk has one. Valid by
 * `schemas/domainsnapshot.rng`. A disk's `base` is written as libvirt does it: as that disk's `<source>` in `config.domain`, which
 * must therefore be the definition from before the snapshot. With `config`, `parseSnapshotRedefinition` reads the same snapshot back,
 * without its mirrors. Errors: `QM_XML_INVALID` for a text that XML cannot carry.
 */
export function formatSnapshot(snapshot: Snapshot, options: FormatSnapshotOptions = {}): string {
  const { description, parent, cookie } = snapshot;
  const { config, current } = options;
  return writeXml(
    makeElement("domainsnapshot", {}, [
      makeElement("name", {}, snapshot.name),
      description === undefined ? undefined : makeElement("description", {}, description),
      makeElement("state", {}, snapshot.state),
      parent === undefined ? undefined : makeElement("parent", {}, [makeElement("name", {}, parent)]),
      makeElement("creationTime", {}, snapshot.creationTime),
      formatMemory(snapshot.memory),
      makeElement("disks", {}, snapshot.disks.map(formatSnapshotDisk)),
      config === undefined
        ? makeElement("domain", {}, [makeElement("uuid", {}, snapshot.domainUuid)])
        : buildDomain(config.domain),
      config?.inactiveDomain === undefined ? undefined : buildInactiveDomain(config.inactiveDomain),
      cookie === undefined ? undefined : readXml(cookie),
      current === undefined ? undefined : makeElement("active", {}, current ? 1 : 0),
    ]),
  );
}

function formatMemory({ snapshot, file }: SnapshotMemory = { snapshot: "no" }): XmlElement {
  return makeElement("memory", { snapshot, file });
}

function buildInactiveDomain(definition: DomainDefinition): XmlElement {
  return { ...buildDomain(definition), name: "inactiveDomain" };
}

function formatSnapshotDisk({ target, snapshot, source, mirror }: SnapshotDisk): XmlElement {
  return makeElement("disk", { name: target, snapshot, type: source?.type }, [
    source === undefined ? undefined : makeElement("driver", { type: source.format }),
    source === undefined ? undefined : formatSource(source),
    mirror === undefined ? undefined : formatMirror(mirror),
  ]);
}
