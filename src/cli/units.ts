/** Sizes, rates and times as people read and write them. */
import { QmError } from "../base/errors.ts";

const unitNames = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;
const suffixBytes: Readonly<Record<string, number>> = {
  "": 2 ** 20,
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/** `4.5 GiB`. */
export function formatBytes(sizeBytes: number): string {
  const { value, unit } = scale(sizeBytes);
  return `${unit === 0 ? value : value.toFixed(1)} ${unitNames[unit] ?? ""}`;
}

/** `4.500 GiB`: a disk's size as virsh shows it. */
export function formatCapacity(sizeBytes: number): string {
  const { value, unit } = scale(sizeBytes);
  return `${value.toFixed(3)} ${unitNames[unit] ?? ""}`;
}

function scale(sizeBytes: number): { value: number; unit: number } {
  let value = sizeBytes;
  let unit = 0;
  while (value >= 1024 && unit < unitNames.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return { value, unit };
}

/** `0:45`, `12:05`, `1:02:03`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** A point in time (ISO 8601) as virsh shows it: local, with the zone. */
export function formatTime(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const two = (value: number) => String(Math.abs(value)).padStart(2, "0");
  const zone = -date.getTimezoneOffset();
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${time} ${zone < 0 ? "-" : "+"}${two(Math.trunc(zone / 60))}${two(zone % 60)}`;
}

/**
 * Bytes per second of a `--bandwidth`: a number of MiB/s as in virsh, or one with a suffix `B`, `K`, `M`, `G`, `T` (powers of
 * 1024). 0: no limit. Throws `QM_INVALID`.
 */
export function parseBandwidth(text: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)([BKMGT]?)$/i.exec(text);
  const bytesPerS = Math.round(Number(match?.[1]) * (suffixBytes[(match?.[2] ?? "").toUpperCase()] ?? Number.NaN));
  if (!Number.isSafeInteger(bytesPerS)) {
    throw new QmError("QM_INVALID", {
      reason: `--bandwidth '${text}' is not a number of MiB/s, nor one with a suffix B, K, M, G or T`,
    });
  }
  return bytesPerS;
}
