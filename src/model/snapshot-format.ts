import { makeElement, type XmlElement } from "../xml/element.ts";
import { writeXml } from "../xml/write.ts";
import { formatMirror, formatSource } from "./image-xml.ts";
import type { Snapshot, SnapshotDisk } from "./snapshot.ts";

/**
 * Writes `<domainsnapshot>` in libvirt's order of elements, with `<mirror>` where a disk has one. Valid by
 * `schemas/domainsnapshot.rng`. Errors: `QM_XML_INVALID` for a text that XML cannot carry.
 */
export function formatSnapshot(snapshot: Snapshot): string {
  const { description, parent } = snapshot;
  return writeXml(
    makeElement("domainsnapshot", {}, [
      makeElement("name", {}, snapshot.name),
      description === undefined ? undefined : makeElement("description", {}, description),
      makeElement("state", {}, snapshot.state),
      parent === undefined ? undefined : makeElement("parent", {}, [makeElement("name", {}, parent)]),
      makeElement("creationTime", {}, snapshot.creationTime),
      makeElement("memory", { snapshot: "no" }),
      makeElement("disks", {}, snapshot.disks.map(formatSnapshotDisk)),
    ]),
  );
}

function formatSnapshotDisk({ target, snapshot, source, mirror }: SnapshotDisk): XmlElement {
  return makeElement("disk", { name: target, snapshot, type: source?.type }, [
    source === undefined ? undefined : makeElement("driver", { type: source.format }),
    source === undefined ? undefined : formatSource(source),
    mirror === undefined ? undefined : formatMirror(mirror),
  ]);
}
