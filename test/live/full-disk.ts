/** A directory that can be full at any moment: a small tmpfs for root; for others a limit on the size of this process's files. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface FullDisk {
  readonly directory: string;
  /** From now on nothing more can be written. */
  fill(): void;
  free(): void;
  close(): void;
}

export function makeFullDisk(): FullDisk {
  const directory = mkdtempSync(join(tmpdir(), "qmirror-full-"));
  return process.getuid?.() === 0 ? mountTmpfs(directory) : limitFiles(directory);
}

function mountTmpfs(directory: string): FullDisk {
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m,mode=700", "qmirror-test", directory]);
  const filler = join(directory, "filler");
  return {
    directory,
    fill() {
      const file = openSync(filler, "w");
      try {
        for (;;) writeSync(file, Buffer.alloc(4096));
      } catch {
        // ENOSPC: that is it.
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(filler, { force: true }),
    close() {
      execFileSync("umount", [directory]);
      rmSync(directory, { recursive: true });
    },
  };
}

function limitFiles(directory: string): FullDisk {
  const limit = (bytes: string): void => void execFileSync("prlimit", ["--pid", `${process.pid}`, `--fsize=${bytes}:`]);
  // The kernel's own word for it would end the process.
  const ignore = (): void => undefined;
  process.on("SIGXFSZ", ignore);
  return {
    directory,
    fill: () => limit("1"),
    free: () => limit("unlimited"),
    close() {
      limit("unlimited");
      process.off("SIGXFSZ", ignore);
      rmSync(directory, { recursive: true });
    },
  };
}
