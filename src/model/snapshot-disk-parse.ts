/** The parts of a snapshot's `<disk>` that requests and redefinitions share. */
import type { ElementReader } from "../xml/element-reader.ts";
import { checkPath } from "./names.ts";
import type { SnapshotDiskRequest } from "./snapshot.ts";

/** Overlays and their mirrors need a backing file: qcow2 alone has one. */
export const overlayFormats = ["qcow2"] as const;
/** Where overlays and mirrors are made: on this host. */
export const overlayTypes = ["file", "block"] as const;
type OverlayType = (typeof overlayTypes)[number];

/** The overlay that a `<disk>` names, as far as it does. `QM_XML_UNSUPPORTED` for one that is not on this host. */
export function readOverlay(disk: ElementReader): Pick<SnapshotDiskRequest, "source" | "format"> {
  if (disk.attribute("type") === "network") disk.unsupported(" as 'network': a network overlay is not made", "@type");
  const type = disk.choice("type", overlayTypes) ?? "file";
  const format = disk.child("driver", (e) => e.choice("type", overlayFormats));
  const path = disk.child("source", (e) => readOverlayPath(e, type));
  return {
    ...(path === undefined ? {} : { source: { path, type } }),
    ...(format === undefined ? {} : { format }),
  };
}

function readOverlayPath(source: ElementReader, type: OverlayType): string | undefined {
  source.ignore("@index"); // libvirt's live XML numbers its images
  const key = type === "file" ? "file" : "dev";
  const path = source.attribute(key);
  return path === undefined ? undefined : checkPath(path, `${source.path}@${key}`);
}

/** Reads the short form `<mirror file=… format=…/>`, the long one with `<format>` and `<source>`, or both where they agree. */
export function readMirror(mirror: ElementReader): NonNullable<SnapshotDiskRequest["mirror"]> {
  mirror.ignore("@ready", "@job");
  const type = mirror.choice("type", overlayTypes) ?? "file";
  const shortFile = mirror.attribute("file");
  const shortFormat = mirror.choice("format", overlayFormats);
  const longFormat = mirror.child("format", (e) => e.choice("type", overlayFormats) ?? e.fail("is missing", "@type"));
  const longPath = mirror.child("source", (e) => readOverlayPath(e, type) ?? e.fail("names no file"));
  if (shortFile !== undefined && type === "block") mirror.fail("is for type='file' only", "@file");
  const shortPath = shortFile === undefined ? undefined : checkPath(shortFile, `${mirror.path}@file`);
  if (shortPath !== undefined && longPath !== undefined && shortPath !== longPath) {
    mirror.fail("differs from its <source>", "@file");
  }
  const path = shortPath ?? longPath ?? mirror.fail("names no file");
  const format = shortFormat ?? longFormat;
  return { path, type, ...(format === undefined ? {} : { format }) };
}
