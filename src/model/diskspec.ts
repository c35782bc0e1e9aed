import { checkPath } from "./names.ts";
import { overlayTypes } from "./snapshot-disk-parse.ts";
import { diskSnapshotKinds, type SnapshotDiskRequest } from "./snapshot.ts";
import { chooseSpecValue, refuseSpec, splitAtCommas } from "./spec-values.ts";

export const diskspecKeys = ["snapshot", "driver", "stype", "file", "mirror"] as const;
type Key = (typeof diskspecKeys)[number];

/**
 * Reads virsh's `--diskspec DISK[,snapshot=no|internal|external|manual][,driver=qcow2][,stype=file|block][,file=PATH][,mirror=PATH]`,
 * where `,,` stands for a comma. `stype` tells what `file` is; a mirror on a block device needs XML.
 * Errors: `QM_INVALID` with the spec in `fields.spec`; `QM_XML_INVALID` for a path that is not absolute.
 */
export function parseDiskspec(spec: string): SnapshotDiskRequest {
  const [name = "", ...settings] = splitAtCommas(spec);
  const refuse = (reason: string): never => refuseSpec("diskspec", spec, reason);
  if (name === "") refuse("names no disk");
  const values = new Map<Key, string>();
  for (const setting of settings) {
    const [, word = setting, value = ""] = /^([^=]*)=(.*)$/s.exec(setting) ?? [];
    const key = diskspecKeys.find((one) => one === word) ?? refuse(`'${word}' is none of ${diskspecKeys.join(", ")}`);
    if (value === "") refuse(`'${key}' has no value`);
    if (values.has(key)) refuse(`'${key}' is given twice`);
    values.set(key, value);
  }
  const choose = <T extends string>(key: Key, supported: readonly T[]): T | undefined => {
    const value = values.get(key);
    return value === undefined ? undefined : chooseSpecValue("diskspec", spec, key, value, supported);
  };
  const snapshot = choose("snapshot", diskSnapshotKinds);
  const format = choose("driver", ["qcow2"] as const);
  const type = choose("stype", overlayTypes) ?? "file";
  const file = values.get("file");
  const mirror = values.get("mirror");
  return {
    name,
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(file === undefined ? {} : { source: { path: checkPath(file, "diskspec file"), type } }),
    ...(format === undefined ? {} : { format }),
    ...(mirror === undefined ? {} : { mirror: { path: checkPath(mirror, "diskspec mirror"), type: "file" as const } }),
  };
}
