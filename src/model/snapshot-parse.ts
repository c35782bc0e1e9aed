import { ElementReader } from "../xml/element-reader.ts";
import { readXml } from "../xml/read.ts";
import { checkPath, checkSnapshotName } from "./names.ts";
import { readMirror, readOverlay } from "./snapshot-disk-parse.ts";
import {
  diskSnapshotKinds,
  memoryKinds,
  type SnapshotDiskRequest,
  type SnapshotMemory,
  type SnapshotRequest,
} from "./snapshot.ts";

/**
 * Reads `<domainsnapshot>` as a request. What only output carries (`state`, `parent`, `creationTime`, `domain`, a mirror's
 * `ready`) is accepted and not looked at, as in libvirt, so that output can be fed back.
 *
 * Errors: those of `readXml`, `QM_XML_UNSUPPORTED` (all that is outside of docs/reference/xml-snapshot.md, such as a network
 * overlay), `QM_XML_INVALID`. Whether it fits a domain is for `alignSnapshot` to say.
 */
export function parseSnapshotRequest(xml: string): SnapshotRequest {
  return ElementReader.readRoot(readXml(xml), "domainsnapshot", (snapshot) => {
    snapshot.ignore("state", "parent", "creationTime", "domain", "inactiveDomain", "cookie", "active");
    const name = snapshot.child("name", (e) => checkSnapshotName(e.text(), e.path));
    const description = snapshot.child("description", (e) => e.text());
    const memory = snapshot.child("memory", readSnapshotMemory);
    const disks = snapshot.child("disks", (e) => e.children("disk", parseSnapshotDisk)) ?? [];
    return {
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
      ...(memory === undefined ? {} : { memory }),
      disks,
    };
  });
}

/** Reads `<memory>`: a file says `external` by itself, and an empty element says nothing, as in libvirt. */
export function readSnapshotMemory(memory: ElementReader): SnapshotMemory | undefined {
  const path = memory.attribute("file");
  const file = path === undefined ? undefined : checkPath(path, `${memory.path}@file`);
  const snapshot = memory.choice("snapshot", memoryKinds) ?? (file === undefined ? undefined : "external");
  if (snapshot === undefined) return undefined;
  if (file === undefined) return { snapshot };
  if (snapshot !== "external") memory.fail("needs snapshot='external'", "@file");
  return { snapshot, file };
}

function parseSnapshotDisk(disk: ElementReader): SnapshotDiskRequest {
  const name = disk.requireAttribute("name");
  const snapshot = disk.choice("snapshot", diskSnapshotKinds);
  const overlay = readOverlay(disk);
  const mirror = disk.child("mirror", readMirror);
  return {
    name,
    ...(snapshot === undefined ? {} : { snapshot }),
    ...overlay,
    ...(mirror === undefined ? {} : { mirror }),
  };
}
