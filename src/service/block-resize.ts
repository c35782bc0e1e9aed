/** `virsh blockresize`: growing a disk, whether its domain runs or not. */
import { QmError } from "../base/errors.ts";
import { readImageInfo } from "../image/info.ts";
import { runQemuImg } from "../image/run-qemu-img.ts";
import { resizeNode } from "../qemu/block-copy.ts";
import { findDisk, requireWritable, selectRunning } from "./block-disk.ts";
import { requireMonitor, type DomainEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import { assertNotBusy, assertNotCopied, assertNotMirrored, withDomain } from "./guards.ts";

/**
 * The active image alone gets the new size; what it stands on stays as it is. The same size as before is no error.
 *
 * `QM_INVALID`: not a multiple of 512 bytes, or less than now (what is cut off would be lost). QEMU's own refusal is `QM_JOB_FAILED`,
 * that of `qemu-img` `QM_IMAGE_TOOL`; the size is as it was then.
 */
export async function resizeDisk(
  { registry }: Pick<LifecycleDeps, "registry">,
  entry: DomainEntry,
  diskName: string,
  sizeBytes: number,
): Promise<void> {
  const disk = findDisk(entry, diskName);
  assertNotBusy(entry);
  assertNotMirrored(registry, entry, "resizing a disk");
  assertNotCopied(entry, "resizing the disk", disk.target);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % 512 !== 0) {
    throw new QmError("QM_INVALID", { reason: `${sizeBytes} bytes is not a positive multiple of 512` });
  }
  await withDomain(entry, `disk '${disk.target}' is being resized`, async () => {
    if (entry.run !== undefined) {
      const { layers, sizeBytes: nowBytes } = await selectRunning(entry, disk.target);
      assertGrows(disk.target, nowBytes, sizeBytes);
      await resizeNode(requireMonitor(entry), disk.target, layers[0].node, sizeBytes);
      return;
    }
    const image = requireWritable(disk, disk.source);
    const { virtualSizeBytes } = await readImageInfo(image, { disk: disk.target });
    assertGrows(disk.target, virtualSizeBytes, sizeBytes);
    await runQemuImg(["resize", "-q", "-f", image.format, image.path, String(sizeBytes)], { path: image.path });
  });
}

function assertGrows(disk: string, nowBytes: number, sizeBytes: number): void {
  if (sizeBytes >= nowBytes) return;
  const reason = `disk '${disk}' has ${nowBytes} bytes: making it smaller would lose what is behind byte ${sizeBytes}`;
  throw new QmError("QM_INVALID", { reason });
}
