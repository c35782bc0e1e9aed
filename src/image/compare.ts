/** Proves that two chains show a guest the same data. */
import { QmError } from "../base/errors.ts";
import type { ImageChain } from "../model/image.ts";
import { chainJson } from "./image-json.ts";
import { readImageInfo } from "./info.ts";
import { followProgress, type ProgressHandler } from "./progress.ts";
import { runQemuImg } from "./run-qemu-img.ts";

export interface CompareChainsOptions {
  readonly left: ImageChain;
  readonly right: ImageChain;
  readonly disk: string;
  readonly onProgress?: ProgressHandler;
  readonly signal?: AbortSignal;
}

/**
 * Compares what a guest would read from two complete chains, without heeding locks: nothing may write to them meanwhile.
 * Returns when they are equal, in size too. Errors: `QM_VERIFY_FAILED` with the offset in QEMU's words, `QM_IMAGE_TOOL`,
 * `QM_CANCELLED`, and those of `readImageInfo`.
 */
export async function compareChains({ left, right, disk, onProgress, signal }: CompareChainsOptions): Promise<void> {
  const [leftInfo, rightInfo] = await Promise.all([
    readImageInfo(left[0], { disk }),
    readImageInfo(right[0], { disk }),
  ]);
  const differs = (reason: string) =>
    new QmError("QM_VERIFY_FAILED", { disk, reason, left: left[0].path, right: right[0].path });
  const totalBytes = leftInfo.virtualSizeBytes;
  if (totalBytes !== rightInfo.virtualSizeBytes) {
    throw differs(`its size is ${rightInfo.virtualSizeBytes} bytes, that of the source ${totalBytes} bytes`);
  }
  let words = "";
  const follow = followProgress(totalBytes, onProgress);
  const args = ["compare", "-U", "-p", chainJson(left, { unlocked: true }), chainJson(right, { unlocked: true })];
  const { exitCode } = await runQemuImg(args, {
    path: right[0].path,
    okExitCodes: [0, 1],
    onStdout: (text) => {
      words = (words + text).slice(-1024);
      follow(text);
    },
    ...(signal === undefined ? {} : { signal }),
  });
  if (exitCode === 1) throw differs(/Content mismatch[^\r\n]*/.exec(words)?.[0] ?? words.trim());
}
