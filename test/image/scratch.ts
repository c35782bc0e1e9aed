/** A directory for one test, and real images in it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { ErrorCode } from "../../src/base/error-registry.ts";
import { isQmError } from "../../src/base/errors.ts";
import type { DiskFormat, ImageRef } from "../../src/model/image.ts";

export function scratchDirectory(t: TestContext): string {
  const path = mkdtempSync(join(realpathSync(tmpdir()), "qmirror-image-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

export function image(path: string, format: DiskFormat = "qcow2"): ImageRef {
  return { type: "file", path, format };
}

export function qemuImg(...args: string[]): string {
  return execFileSync("qemu-img", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs `qemu-io` commands on a qcow2 image. */
export function qemuIo(path: string, ...commands: string[]): string {
  const args = ["-f", "qcow2", "-d", "unmap", ...commands.flatMap((command) => ["-c", command]), path];
  return execFileSync("qemu-io", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** For `assert.rejects`: the code, and a pattern for the message. */
export function failsWith(code: ErrorCode, pattern = /./): (error: unknown) => boolean {
  return (error) => {
    if (isQmError(error, code) && pattern.test(error.message)) return true;
    throw error;
  };
}
