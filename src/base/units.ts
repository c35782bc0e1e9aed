/** Sizes, rates and durations as people write and read them. */
import { QmError } from "./errors.ts";

const binaryUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;
const letters = "kmgtp";

/**
 * Bytes of "4096", "200M", "1.5GiB" or "2GB". One letter and the "iB" forms are powers of 1024 as in qemu-img, the "B" forms
 * powers of 1000 as in libvirt; case does not matter. Parts of a byte are dropped.
 * Throws `QM_INVALID` for anything else, and for values beyond 2^53 - 1.
 */
export function parseBytes(text: string): number {
  const match = /^(\d{1,16}(?:\.\d{1,9})?)\s*(?:([kmgtp])(ib|b)?|b|bytes?)?$/i.exec(text.trim());
  if (match === null) throw new QmError("QM_INVALID", { reason: `'${text}' is not a size such as 4096, 200M or 1GiB` });
  const [, digits = "", letter = "", suffix = ""] = match;
  const power = letter === "" ? 0 : letters.indexOf(letter.toLowerCase()) + 1;
  const sizeBytes = Math.floor(Number(digits) * (suffix.toLowerCase() === "b" ? 1000 : 1024) ** power);
  if (!Number.isSafeInteger(sizeBytes)) throw new QmError("QM_INVALID", { reason: `size '${text}' is too large` });
  return sizeBytes;
}

/** "512 B", "1.5 GiB": at most one decimal, none where it would be 0. */
export function formatBytes(sizeBytes: number): string {
  let value = sizeBytes;
  let unit = 0;
  while (Math.abs(round(value)) >= 1024 && unit < binaryUnits.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${round(value)} ${binaryUnits[unit]}`;
}

/** "12.3 MiB/s". */
export function formatRate(bytesPerS: number): string {
  return `${formatBytes(bytesPerS)}/s`;
}

/** "250 ms", "3.4 s", "2 min 05 s", "1 h 02 min", "3 d 04 h": two units at most. */
export function formatDuration(durationMs: number): string {
  if (Math.round(durationMs) < 1000) return `${Math.round(durationMs)} ms`;
  const tenths = Math.round(durationMs / 100);
  if (tenths < 600) return `${tenths / 10} s`;
  const seconds = Math.round(durationMs / 1000);
  if (seconds < 3600) return pair(seconds, 60, "min", "s");
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return pair(minutes, 60, "h", "min");
  return pair(Math.round(minutes / 60), 24, "d", "h");
}

function pair(value: number, base: number, big: string, small: string): string {
  return `${Math.floor(value / base)} ${big} ${String(value % base).padStart(2, "0")} ${small}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
