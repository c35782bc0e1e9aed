/** What virsh's `--diskspec` and `--memspec` share: settings between commas. */
import { QmError } from "../base/errors.ts";

type SpecKind = "diskspec" | "memspec";

/** Commas pair up from the left, as in virsh: `a,,,b` is `a,` and `b`. */
export function splitAtCommas(spec: string): string[] {
  const parts = [""];
  for (const [piece] of spec.matchAll(/,,|,|[^,]+/g)) {
    if (piece === ",") parts.push("");
    else parts.push((parts.pop() ?? "") + (piece === ",," ? "," : piece));
  }
  return parts;
}

/** The value as one of the supported ones; `QM_INVALID` for another. */
export function chooseSpecValue<T extends string>(
  kind: SpecKind,
  spec: string,
  key: string,
  value: string,
  supported: readonly T[],
): T {
  const found = supported.find((one) => one === value);
  return found ?? refuseSpec(kind, spec, `${key} '${value}' is not supported (supported: ${supported.join(", ")})`);
}

/** Throws `QM_INVALID`, with the spec in `fields.spec`. */
export function refuseSpec(kind: SpecKind, spec: string, reason: string): never {
  throw new QmError("QM_INVALID", { reason: `${kind} '${spec}': ${reason}`, spec });
}
