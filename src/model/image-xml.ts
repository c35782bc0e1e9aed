/** Images and mirrors in XML: `<source>`, `<format>`, `<backingStore>`, `<mirror>`, as disks and snapshots share them. */
import type { ElementReader } from "../xml/element-reader.ts";
import { makeElement, type XmlElement } from "../xml/element.ts";
import { diskFormats, imageTypes, makeNetworkImage, type DiskFormat, type ImageRef } from "./image.ts";
import type { DiskMirror } from "./mirror.ts";
import { checkPath } from "./names.ts";
import { formatNetworkSource, readNetworkSource } from "./network-xml.ts";

/** `<source>` of an image: its file, its device, or where it is on the network. Undefined for an empty `<source/>`. */
export function readSource(source: ElementReader, type: ImageRef["type"], format: DiskFormat): ImageRef | undefined {
  if (type === "network") return makeNetworkImage(readNetworkSource(source), format);
  source.ignore("@index"); // libvirt's live XML numbers its images
  const key = type === "file" ? "file" : "dev";
  const path = source.attribute(key);
  return path === undefined ? undefined : { type, path: checkPath(path, `${source.path}@${key}`), format };
}

/** `index` is the image's number in live XML. */
export function formatSource({ type, path, network }: Omit<ImageRef, "format">, index?: number): XmlElement {
  if (network !== undefined) return formatNetworkSource(network, index);
  return makeElement("source", { [type === "file" ? "file" : "dev"]: path, index });
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

/**
 * Reads a whole chain, nearest layer first; it must end, as all that libvirt writes does, with an empty `<backingStore/>`: what is
 * not told would have to be probed.
 */
export function readBackingStore(store: ElementReader): ImageRef[] {
  store.ignore("@index");
  const type = store.choice("type", imageTypes);
  if (type === undefined) return [];
  const format = store.requireChild("format", (e) => e.choice("type", diskFormats) ?? e.fail("is missing", "@type"));
  const layer = store.requireChild("source", (e) => readSource(e, type, format) ?? e.fail("names no image"));
  return [layer, ...store.requireChild("backingStore", readBackingStore)];
}

/**
 * Writes the layers nested in each other, nearest first, and the empty `<backingStore/>` that ends a chain. `firstIndex` is given in
 * live XML: the number of the first layer.
 */
export function formatBackingStore(layers: readonly ImageRef[], firstIndex?: number): XmlElement {
  return layers.reduceRight((below, layer, place) => {
    const index = firstIndex === undefined ? undefined : firstIndex + place;
    return makeElement("backingStore", { type: layer.type, index }, [
      makeElement("format", { type: layer.format }),
      formatSource(layer),
      below,
    ]);
  }, makeElement("backingStore"));
}
