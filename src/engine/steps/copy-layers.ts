import { dirname } from "node:path";
import { copyLayer, flattenChain } from "../../image/copy.ts";
import { setBacking } from "../../image/create.ts";
import { removeFile, syncDirectory, syncFile } from "../../image/files.ts";
import { createOwnFile, removeOwnFiles } from "./own-files.ts";
import { mirroredDisks, type LayerCopy, type StoragePlan } from "./storage-plan.ts";
import type { OperationJournal, Step, StepContext } from "./step.ts";

/** Copies run at once: two keep a disk busy without taking the host from its guests. */
const copiesAtOnce = 2;

/**
 * Copies the immutable layers to the destination, outside of QEMU. A layer that is recorded as copied is not copied again when
 * the operation goes on after a crash; one that was not finished starts anew.
 */
export const copyLayers: Step = {
  name: "copy-layers",
  journalled: true,
  async act(context) {
    const progress = trackProgress(context);
    const waiting = context.plan.copies.filter((copy) => !context.journal.has("copied", copy.to.path));
    for (const copy of context.plan.copies) if (!waiting.includes(copy)) progress(copy, copy.sizeBytes);
    const failed = new AbortController();
    const signal = AbortSignal.any([context.signal, failed.signal]);
    const copied = new AbortController();
    // Copying takes hours, and is for nothing without its mirrors.
    void context.dialect
      .awaitFailure?.(context.monitor, mirroredDisks(context.plan), copied.signal)
      .catch((error: unknown) => failed.abort(error));
    const worker = async (): Promise<void> => {
      for (let copy = waiting.shift(); copy !== undefined; copy = waiting.shift()) {
        await copyOne({ ...context, signal }, copy, progress);
      }
    };
    const workers = Array.from({ length: Math.min(copiesAtOnce, waiting.length) }, worker);
    const results = await Promise.allSettled(workers.map((running) => stopOthersOnFailure(running, failed)));
    copied.abort();
    const first = results.find((result) => result.status === "rejected");
    if (first !== undefined) throw failed.signal.aborted ? failed.signal.reason : first.reason;
  },
  async undo({ plan, journal }) {
    await removeCopies(plan, journal);
  },
};

export async function removeCopies(plan: StoragePlan, journal: OperationJournal): Promise<void> {
  const begun = plan.copies.map((copy) => copy.to.path).filter((path) => journal.has("copying", path));
  await removeOwnFiles(journal, begun);
}

async function copyOne(context: StepContext, copy: LayerCopy, progress: Progress): Promise<void> {
  const limit = context.bytesPerS();
  const options = {
    disk: copy.disk,
    signal: context.signal,
    ...(limit > 0 ? { rateBytesPerS: Math.ceil(limit / copiesAtOnce) } : {}),
    // Told in bytes of the file or of the virtual disk; shown in bytes that there are to copy.
    onProgress: (doneBytes: number, totalBytes: number) =>
      progress(copy, totalBytes === 0 ? 0 : Math.floor((doneBytes / totalBytes) * copy.sizeBytes)),
  };
  if (context.journal.has("copying", copy.to.path)) await removeFile(copy.to.path);
  else context.journal.record("copying", copy.to.path);
  await createOwnFile(context.journal, { disk: copy.disk, path: copy.to.path, like: copy.from.path });
  if (copy.flatten !== undefined) await flattenChain({ ...options, chain: copy.flatten, to: copy.to });
  else {
    await copyLayer({ ...options, from: copy.from, to: copy.to });
    if (copy.backing !== undefined) await setBacking({ image: copy.to, backing: copy.backing, signal: context.signal });
  }
  // The pivot makes these images the truth: their headers, written last, and their names have to outlive a power failure.
  await syncFile(copy.to.path);
  await syncDirectory(dirname(copy.to.path));
  progress(copy, copy.sizeBytes);
  context.journal.record("copied", copy.to.path);
}

type Progress = (copy: LayerCopy, doneBytes: number) => void;

/** Sums the layers of each disk. */
function trackProgress(context: StepContext): Progress {
  const done = new Map<LayerCopy, number>();
  return (copy, doneBytes) => {
    done.set(copy, Math.min(doneBytes, copy.sizeBytes));
    const layers = context.plan.copies.filter((other) => other.disk === copy.disk);
    const sum = (size: (layer: LayerCopy) => number): number => layers.reduce((total, layer) => total + size(layer), 0);
    context.reportProgress(
      copy.disk,
      sum((layer) => done.get(layer) ?? 0),
      sum((layer) => layer.sizeBytes),
    );
  };
}

async function stopOthersOnFailure(running: Promise<void>, failed: AbortController): Promise<void> {
  try {
    await running;
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}
