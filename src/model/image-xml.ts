/** Images and mirrors in XML: `<source>`, `<format>`, `<backingStore>`, `<mirror>`, as disks and snapshots share them. */
import type { ElementReader } from "../xml/element-reader.ts";
import { makeElement, type XmlElement } from "../xml/element.ts";
import type { ImageRef } from "./image.ts";
import { checkPath } from "./names.ts";
import type { DiskMirror } from "./snapshot.ts";

export const imageTypes = ["file", "block"] as const;
type ImageType = ImageRef["type"];

/** The path in `<source file=…>` or, for a block device, `<source dev=…>`; undefined for an empty `<source/>`. */
export function readSourcePath(source: ElementReader, type: ImageType): string | undefined {
  source.ignore("@index"); // libvirt's live XML numbers its images
  const key = type === "file" ? "file" : "dev";
  const path = source.attribute(key);
  return path === undefined ? undefined : checkPath(path, `${source.path}@${key}`);
}

export function formatSource(image: Pick<ImageRef, "type" | "path">): XmlElement {
  return makeElement("source", { [image.type === "file" ? "file" : "dev"]: image.path });
}

/**
 * Writes the long form, and for a file the short form's attributes too. `job` is what libvirt's domain XML tells; `ready` is
 * written for a ready mirror only.
 */
export function formatMirror(mirror: DiskMirror, job?: "copy"): XmlElement {
  const { type, path, format } = mirror.target;
  return makeElement(
    "mirror",
    {
      type,
      job,
      file: type === "file" ? path : undefined,
      format: type === "file" ? format : undefined,
      ready: mirror.state === "ready" ? "yes" : undefined,
    },
    [makeElement("format", { type: format }), formatSource(mirror.target)],
  );
}

/** Writes the layers nested in each other, nearest first, and the empty `<backingStore/>` that ends a chain. */
export function formatBackingStore(layers: readonly ImageRef[]): XmlElement {
  return layers.reduceRight(
    (below, layer) =>
      makeElement("backingStore", { type: layer.type }, [
        makeElement("format", { type: layer.format }),
        formatSource(layer),
        below,
      ]),
    makeElement("backingStore"),
  );
}
