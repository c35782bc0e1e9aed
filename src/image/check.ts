/** `qemu-img check` of one image. */
import { QmError } from "../base/errors.ts";
import type { ImageRef } from "../model/image.ts";
import { imageJson } from "./image-json.ts";
import { runQemuImg } from "./run-qemu-img.ts";

export interface CheckResult {
  /** Places where guest data is, or may become, wrong. */
  readonly corruptions: number;
  /** Clusters that are counted as used but are not: lost space, no danger. */
  readonly leaks: number;
  /** Places that could not be checked. */
  readonly checkErrors: number;
}

/**
 * Checks a qcow2 image's metadata, read-only and without its backing file. An image in use by a QEMU may show errors that
 * are none. Errors: `QM_IMAGE_TOOL` (also when it could not be checked at all), `QM_CANCELLED`.
 */
export async function checkImage(
  image: ImageRef,
  options: { readonly signal?: AbortSignal } = {},
): Promise<CheckResult> {
  const { stdout } = await runQemuImg(["check", "-U", "--output=json", imageJson(image)], {
    path: image.path,
    okExitCodes: [0, 2, 3],
    ...options,
  });
  const report = JSON.parse(stdout) as { corruptions?: number; leaks?: number; "check-errors"?: number };
  const checkErrors = report["check-errors"];
  if (checkErrors === undefined) {
    throw new QmError("QM_IMAGE_TOOL", {
      tool: "qemu-img check",
      path: image.path,
      reason: "its report has no result",
    });
  }
  return { corruptions: report.corruptions ?? 0, leaks: report.leaks ?? 0, checkErrors };
}
