/** Where a block copy goes: libvirt's `<disk>` without a target. */
import type { BlockCopyBody } from "../../api-types/index.ts";
import { diskFormats } from "../../model/image.ts";
import { ElementReader } from "../../xml/element-reader.ts";
import { readXml } from "../../xml/read.ts";

/** Rejects as `parseDomain` does. */
export function parseCopyTarget(xml: string): Pick<BlockCopyBody, "dest" | "destType" | "format"> {
  return ElementReader.readRoot(readXml(xml), "disk", (disk) => {
    const destType = disk.choice("type", ["file", "block"] as const) ?? "file";
    const format = disk.child("driver", (driver) => {
      driver.ignore("name");
      return driver.choice("type", diskFormats);
    });
    const dest = disk.requireChild("source", (source) => source.requireAttribute(destType === "file" ? "file" : "dev"));
    return { dest, destType, ...(format === undefined ? {} : { format }) };
  });
}
