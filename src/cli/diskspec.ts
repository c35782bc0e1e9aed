/** virsh's `--diskspec` and `--memspec`: `vda,snapshot=external,file=/path`, where a doubled comma stands for a comma. */
import { resolve } from "node:path";

/** The same spec with relative paths in `file=` and `mirror=` resolved against `cwd`: the daemon works elsewhere. */
export function resolveDiskspec(spec: string, cwd: string): string {
  return mapFields(spec, (field, index) => (index === 0 ? field : resolvePath(field, /^(file|mirror)=(.+)$/s, cwd)));
}

/** The same for `[file=]PATH[,snapshot=KIND]`. */
export function resolveMemspec(spec: string, cwd: string): string {
  return mapFields(spec, (field, index) => {
    const isBarePath = index === 0 && field !== "" && !/^(file|snapshot)=/.test(field);
    return resolvePath(isBarePath ? `file=${field}` : field, /^(file)=(.+)$/s, cwd);
  });
}

function resolvePath(field: string, setting: RegExp, cwd: string): string {
  const [, key, path] = setting.exec(field) ?? [];
  return key !== undefined && path !== undefined ? `${key}=${resolve(cwd, path)}` : field;
}

function mapFields(spec: string, change: (field: string, index: number) => string): string {
  return splitFields(spec)
    .map(change)
    .map((field) => field.replaceAll(",", ",,"))
    .join(",");
}

/** Commas pair up from the left, as in virsh: `a,,,b` is `a,` and `b`. */
function splitFields(spec: string): string[] {
  const fields = [""];
  for (const [token] of spec.matchAll(/,,|,|[^,]+/g)) {
    if (token === ",") fields.push("");
    else fields.push((fields.pop() ?? "") + (token === ",," ? "," : token));
  }
  return fields;
}
