import { compareChains } from "../../image/compare.ts";
import type { ImageChain, ImageRef } from "../../model/image.ts";
import { mirroredDisks, type LayerCopy, type StoragePlan } from "./storage-plan.ts";
import type { Step } from "./step.ts";

/** Proves that a guest would read the same from the copied chain as from its source. The mirrors need no proof: QEMU writes both. */
export const verifyCopies: Step = {
  name: "verify-copies",
  journalled: true,
  async act({ plan, signal, reportProgress }) {
    for (const disk of mirroredDisks(plan)) {
      const right = disk.mirror.backing.map((layer) => layer.image);
      const left = sourceChain(plan, disk.target);
      if (left === undefined) continue;
      await compareChains({
        left,
        right: toChain(right),
        disk: disk.target,
        signal,
        onProgress: (doneBytes, totalBytes) => reportProgress(disk.target, doneBytes, totalBytes),
      });
    }
  },
};

/** The chain below the overlay, active first, as it was copied from; absent where nothing was copied. */
function sourceChain(plan: StoragePlan, disk: string): ImageChain | undefined {
  const copies = plan.copies.filter((copy) => copy.disk === disk);
  const flattened = copies.find((copy) => copy.flatten !== undefined)?.flatten;
  if (flattened !== undefined) return flattened;
  return copies.length === 0 ? undefined : toChain(copies.map((copy: LayerCopy) => copy.from).toReversed());
}

function toChain(images: readonly ImageRef[]): ImageChain {
  const [first, ...rest] = images;
  if (first === undefined) throw new RangeError("a chain has at least one image");
  return [first, ...rest];
}
