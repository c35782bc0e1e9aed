/** What names and paths may look like. Each check returns the value, or throws `QM_XML_INVALID` naming `where`. */
import { posix } from "node:path";
import { QmError } from "../base/errors.ts";

/** Linux's NAME_MAX and PATH_MAX (less its final NUL), in bytes. */
const maxNameBytes = 255;
const maxPathBytes = 4095;

// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** Names become parts of file names: no `/`, no leading `.`, no control character, no outer blank, at most {@link maxNameBytes}. */
export function checkDomainName(name: string, where: string): string {
  return checkName(name, where, name.startsWith(".") ? "must not begin with '.'" : undefined);
}

/** As {@link checkDomainName}; a leading `.` is allowed, as the name is only ever a suffix, but not `.` and `..` alone. */
export function checkSnapshotName(name: string, where: string): string {
  return checkName(name, where, name === "." || name === ".." ? "must not be '.' or '..'" : undefined);
}

function checkName(name: string, where: string, complaint: string | undefined): string {
  const reason =
    name.trim() === ""
      ? "must not be empty"
      : name !== name.trim()
        ? "must not begin or end with a blank"
        : name.includes("/")
          ? "must not contain '/'"
          : (complaint ?? complaintOnText(name, maxNameBytes));
  return pass(name, where, reason);
}

/** Returns the absolute path without `.`, `..`, doubled or trailing slashes. Symbolic links are not looked at. */
export function checkPath(path: string, where: string): string {
  if (!path.startsWith("/")) return pass(path, where, `'${path}' is not an absolute path`);
  const normal = posix.normalize(path).replace(/(?<=.)\/$/, "");
  const last = Buffer.byteLength(posix.basename(normal));
  const tooLong = last > maxNameBytes ? `its last part is longer than ${maxNameBytes} bytes` : undefined;
  const reason = normal === "/" ? "'/' is a directory" : (tooLong ?? complaintOnText(normal, maxPathBytes));
  return pass(normal, where, reason);
}

/** Refuses control characters, and texts of more bytes. */
export function checkText(text: string, where: string, maxBytes: number): string {
  return pass(text, where, complaintOnText(text, maxBytes));
}

function complaintOnText(text: string, maxBytes: number): string | undefined {
  if (control.test(text) || !text.isWellFormed()) return "must not contain control characters";
  return Buffer.byteLength(text) > maxBytes ? `is longer than ${maxBytes} bytes` : undefined;
}

function pass(value: string, where: string, reason: string | undefined): string {
  if (reason !== undefined) throw new QmError("QM_XML_INVALID", { element: where, reason });
  return value;
}
