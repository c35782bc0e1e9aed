import { ElementReader } from "../xml/element-reader.ts";
import { readXml } from "../xml/read.ts";
import { imageTypes, readSourcePath } from "./image-xml.ts";
import { checkPath, checkSnapshotName } from "./names.ts";
import type { SnapshotDiskRequest, SnapshotRequest } from "./snapshot.ts";

/** Overlays and their mirrors need a backing file: qcow2 alone has one. */
const overlayFormats = ["qcow2"] as const;

/**
 * Reads `<domainsnapshot>` as a request. What only output carries (`state`, `parent`, `creationTime`, `domain`, a mirror's
 * `ready`) is accepted and not looked at, as in libvirt, so that output can be fed back.
 *
 * Errors: those of `readXml`, `QM_XML_UNSUPPORTED` (memory or internal snapshots and all else outside of
 * docs/reference/xml.md), `QM_XML_INVALID`. Whether it fits a domain is for `alignSnapshot` to say.
 */
export function parseSnapshotRequest(xml: string): SnapshotRequest {
  return ElementReader.readRoot(readXml(xml), "domainsnapshot", (snapshot) => {
    snapshot.ignore("state", "parent", "creationTime", "domain", "inactiveDomain", "cookie");
    const name = snapshot.child("name", (e) => checkSnapshotName(e.text(), e.path));
    const description = snapshot.child("description", (e) => e.text());
    snapshot.child("memory", (e) => {
      if (e.choice("snapshot", ["no"]) === undefined) e.unsupported(" without snapshot='no'");
    });
    const disks = snapshot.child("disks", (e) => e.children("disk", parseSnapshotDisk)) ?? [];
    return {
      ...(name === undefined ? {} : { name }),
      ...(description === undefined ? {} : { description }),
      disks,
    };
  });
}

function parseSnapshotDisk(disk: ElementReader): SnapshotDiskRequest {
  const name = disk.requireAttribute("name");
  const snapshot = disk.choice("snapshot", ["no", "external"] as const);
  const type = disk.choice("type", imageTypes) ?? "file";
  const format = disk.child("driver", (e) => e.choice("type", overlayFormats));
  const path = disk.child("source", (e) => readSourcePath(e, type));
  const mirror = disk.child("mirror", parseMirror);
  return {
    name,
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(path === undefined ? {} : { source: { path, type } }),
    ...(format === undefined ? {} : { format }),
    ...(mirror === undefined ? {} : { mirror }),
  };
}

/** Reads the short form `<mirror file=… format=…/>`, the long one with `<format>` and `<source>`, or both where they agree. */
function parseMirror(mirror: ElementReader): NonNullable<SnapshotDiskRequest["mirror"]> {
  mirror.ignore("@ready", "@job");
  const type = mirror.choice("type", imageTypes) ?? "file";
  const shortFile = mirror.attribute("file");
  const shortFormat = mirror.choice("format", overlayFormats);
  const longFormat = mirror.child("format", (e) => e.choice("type", overlayFormats) ?? e.fail("is missing", "@type"));
  const longPath = mirror.child("source", (e) => readSourcePath(e, type) ?? e.fail("names no file"));
  if (shortFile !== undefined && type === "block") mirror.fail("is for type='file' only", "@file");
  const shortPath = shortFile === undefined ? undefined : checkPath(shortFile, `${mirror.path}@file`);
  if (shortPath !== undefined && longPath !== undefined && shortPath !== longPath) {
    mirror.fail("differs from its <source>", "@file");
  }
  const path = shortPath ?? longPath ?? mirror.fail("names no file");
  const format = shortFormat ?? longFormat;
  return { path, type, ...(format === undefined ? {} : { format }) };
}
