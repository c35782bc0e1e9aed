import { ElementReader } from "../xml/element-reader.ts";
import { readXml } from "../xml/read.ts";
import { parseDisk } from "./disk-parse.ts";
import type { Disk } from "./domain.ts";

/** Reads a document that is one `<disk>`, as `attach-disk` takes it. Rejects as `parseDomain` does. */
export function parseDiskDocument(xml: string): Disk {
  return ElementReader.readRoot(readXml(xml), "disk", parseDisk);
}
