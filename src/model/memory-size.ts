import type { ElementReader } from "../xml/element-reader.ts";

const kib = 1024;
/** libvirt's units (formatdomain, "Memory Allocation"), in bytes. */
const unitBytes: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  KB: 1e3,
  k: kib,
  KiB: kib,
  MB: 1e6,
  M: kib ** 2,
  MiB: kib ** 2,
  GB: 1e9,
  G: kib ** 3,
  GiB: kib ** 3,
  TB: 1e12,
  T: kib ** 4,
  TiB: kib ** 4,
};

/** Reads `<memory unit='…'>N</memory>` in bytes, rounded up to a KiB as libvirt does. No unit means KiB. */
export function readMemoryBytes(reader: ElementReader): number {
  const unit = reader.attribute("unit") ?? "KiB";
  const factor = Object.hasOwn(unitBytes, unit) ? unitBytes[unit] : undefined;
  if (factor === undefined) return reader.unsupported(` in '${unit}'`, "@unit");
  const count = readCount(reader, reader.token());
  const bytes = Math.ceil((count * factor) / kib) * kib;
  if (bytes === 0 || !Number.isSafeInteger(bytes)) reader.fail("is out of range");
  return bytes;
}

/** A decimal number without sign, as found in `reader`'s text or its attribute `at`. `QM_XML_INVALID` for anything else. */
export function readCount(reader: ElementReader, text: string, at = ""): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count)) reader.fail(`'${text}' is not a number`, at);
  return count;
}
