import { QmError } from "../base/errors.ts";
import { imageTypes } from "./image-xml.ts";
import { checkPath } from "./names.ts";
import type { SnapshotDiskRequest } from "./snapshot.ts";

export const diskspecKeys = ["snapshot", "driver", "stype", "file", "mirror"] as const;
type Key = (typeof diskspecKeys)[number];

/**
 * Reads virsh's `--diskspec DISK[,snapshot=no|external][,driver=qcow2][,stype=file|block][,file=PATH][,mirror=PATH]`, where `,,`
 * stands for a comma. `stype` tells what `file` is; a mirror on a block device needs XML.
 * Errors: `QM_INVALID` with the spec in `fields.spec`; `QM_XML_INVALID` for a path that is not absolute.
 */
export function parseDiskspec(spec: string): SnapshotDiskRequest {
  const [name = "", ...settings] = splitAtCommas(spec);
  if (name === "") refuse(spec, "names no disk");
  const values = new Map<Key, string>();
  for (const setting of settings) {
    const [, word = setting, value = ""] = /^([^=]*)=(.*)$/s.exec(setting) ?? [];
    const key = diskspecKeys.find((one) => one === word);
    if (key === undefined) refuse(spec, `'${word}' is none of ${diskspecKeys.join(", ")}`);
    if (value === "") refuse(spec, `'${key}' has no value`);
    if (values.has(key)) refuse(spec, `'${key}' is given twice`);
    values.set(key, value);
  }
  const snapshot = choose(spec, values, "snapshot", ["no", "external"] as const);
  const format = choose(spec, values, "driver", ["qcow2"] as const);
  const type = choose(spec, values, "stype", imageTypes) ?? "file";
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

/** Commas pair up from the left, as in virsh: `a,,,b` is `a,` and `b`. */
function splitAtCommas(spec: string): string[] {
  const parts = [""];
  for (const [piece] of spec.matchAll(/,,|,|[^,]+/g)) {
    if (piece === ",") parts.push("");
    else parts.push((parts.pop() ?? "") + (piece === ",," ? "," : piece));
  }
  return parts;
}

function choose<T extends string>(
  spec: string,
  values: ReadonlyMap<Key, string>,
  key: Key,
  supported: readonly T[],
): T | undefined {
  const value = values.get(key);
  const found = supported.find((one) => one === value);
  if (value !== undefined && found === undefined) {
    refuse(spec, `${key} '${value}' is not supported (supported: ${supported.join(", ")})`);
  }
  return found;
}

function refuse(spec: string, reason: string): never {
  throw new QmError("QM_INVALID", { reason: `diskspec '${spec}': ${reason}`, spec });
}
