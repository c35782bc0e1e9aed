/** Progress of a long qemu-img run. */

/** Bytes done so far, never falling, and bytes in all. */
export type ProgressHandler = (doneBytes: number, totalBytes: number) => void;

/** Reads `-p` output ("    (12.34/100%)\r"), in whatever pieces it comes, and reports it as bytes of `totalBytes`. */
export function followProgress(totalBytes: number, onProgress: ProgressHandler | undefined): (text: string) => void {
  let rest = "";
  let reported = -1;
  return (text) => {
    rest += text;
    const last = [...rest.matchAll(/\((\d+\.\d+)\/100%\)/g)].at(-1);
    rest = rest.slice(-32);
    if (last === undefined) return;
    const doneBytes = Math.min(totalBytes, Math.floor((Number(last[1]) / 100) * totalBytes));
    if (doneBytes <= reported) return;
    reported = doneBytes;
    onProgress?.(doneBytes, totalBytes);
  };
}
