import { checkPath } from "./names.ts";
import { memoryKinds, type SnapshotMemory } from "./snapshot.ts";
import { chooseSpecValue, refuseSpec, splitAtCommas } from "./spec-values.ts";

export const memspecKeys = ["file", "snapshot"] as const;

/**
 * Reads virsh's `--memspec [file=]PATH[,snapshot=no|internal|external]`, where `,,` stands for a comma. A path without `file=` is
 * absolute. `external` where a file is named and nothing else is said; a file that it does not name is made up by `alignSnapshot`.
 * Errors: `QM_INVALID` with the spec in `fields.spec`; `QM_XML_INVALID` for a path that is not absolute.
 */
export function parseMemspec(spec: string): SnapshotMemory {
  const refuse = (reason: string): never => refuseSpec("memspec", spec, reason);
  const values = new Map<(typeof memspecKeys)[number], string>();
  for (const setting of splitAtCommas(spec)) {
    const [, word = "", text = ""] = /^([a-z]+)=(.*)$/s.exec(setting) ?? [];
    const named = memspecKeys.find((one) => one === word);
    const key = named ?? (setting.startsWith("/") ? "file" : refuse(`'${setting}' is neither a path nor a setting`));
    const value = named === undefined ? setting : text;
    if (value === "") refuse(`'${key}' has no value`);
    if (values.has(key)) refuse(`'${key}' is given twice`);
    values.set(key, value);
  }
  const file = values.get("file");
  const kind = values.get("snapshot");
  const snapshot = kind === undefined ? "external" : chooseSpecValue("memspec", spec, "snapshot", kind, memoryKinds);
  if (file === undefined) return { snapshot };
  if (snapshot !== "external") refuse("a file needs snapshot=external");
  return { snapshot, file: checkPath(file, "memspec file") };
}
