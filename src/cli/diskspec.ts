/** virsh's `--diskspec`: `vda,snapshot=external,file=/path`, where a doubled comma stands for a comma. */
import { resolve } from "node:path";

/** The same spec with relative paths in `file=` and `mirror=` resolved against `cwd`: the daemon works elsewhere. */
export function resolveDiskspec(spec: string, cwd: string): string {
  return splitFields(spec)
    .map((field, index) => {
      const [, key, path] = /^(file|mirror)=(.+)$/s.exec(field) ?? [];
      return index > 0 && key !== undefined && path !== undefined ? `${key}=${resolve(cwd, path)}` : field;
    })
    .map((field) => field.replaceAll(",", ",,"))
    .join(",");
}

function splitFields(spec: string): string[] {
  const fields = [""];
  for (const [token] of spec.matchAll(/,,|,|[^,]+/g)) {
    if (token === ",") fields.push("");
    else fields.push((fields.pop() ?? "") + (token === ",," ? "," : token));
  }
  return fields;
}
