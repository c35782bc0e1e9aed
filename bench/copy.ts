/** How fast an image's file is copied, until it is on stable storage: `copyLayer` and the tools that one would use by hand. */
import { execFile } from "node:child_process";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { copyLayer } from "../src/image/copy.ts";
import { createEmptyFile } from "../src/image/files.ts";
import { fillPattern } from "../src/testing/witness/images.ts";
import { time } from "./measure.ts";
import { median } from "./statistics.ts";

const run = promisify(execFile);

const copiers = {
  ours: async (from: string, to: string) => {
    await createEmptyFile(to, { disk: "vda" });
    await copyLayer({
      from: { type: "file", path: from, format: "qcow2" },
      to: { type: "file", path: to, format: "qcow2" },
      disk: "vda",
    });
  },
  "qemu-img convert": async (from: string, to: string) => {
    await run("qemu-img", ["convert", "-f", "qcow2", "-O", "qcow2", from, to]);
    await sync(to);
  },
  "cp --sparse=always": async (from: string, to: string) => {
    await run("cp", ["--sparse=always", from, to]);
    await sync(to);
  },
};
export type CopierName = keyof typeof copiers;
export const copierNames = Object.keys(copiers) as CopierName[];

/** Medians in MiB/s, all files together. */
export interface CopyRow {
  /** Files copied at the same time. */
  readonly files: number;
  /** Whether the sources were in the page cache. Those of guests with `cache=none` are not. */
  readonly cached: boolean;
  readonly mibPerS: Readonly<Record<CopierName, number>>;
}

/** Copies one image, then two at once, of `sizeBytes` allocated bytes each, `runs` times with every copier in turn. */
export async function measureCopying(
  directory: string,
  sizeBytes: number,
  runs: number,
  signal: AbortSignal,
): Promise<CopyRow[]> {
  const sources = [0, 1].map((disk) => ({ disk, path: join(directory, `copied-${disk}.qcow2`) }));
  for (const source of sources) {
    await fillPattern({ ...source, format: "qcow2", sizeBytes });
    // Nothing of the making of one file may be left to be written while another is copied.
    await sync(source.path);
  }
  const rows: CopyRow[] = [];
  for (const cached of [false, true]) {
    for (const files of [1, 2]) {
      const timesMs = new Map<CopierName, number[]>(copierNames.map((name) => [name, []]));
      for (let index = 0; index < runs; index++) {
        for (const name of rotate(copierNames, index)) {
          signal.throwIfAborted();
          timesMs.get(name)?.push(await copyOnce(name, sources.slice(0, files), cached));
        }
      }
      const speed = (name: CopierName): number =>
        ((files * sizeBytes) / 1024 ** 2 / median(timesMs.get(name) ?? [])) * 1000;
      const mibPerS = Object.fromEntries(copierNames.map((name) => [name, speed(name)])) as CopyRow["mibPerS"];
      rows.push({ files, cached, mibPerS });
    }
  }
  return rows;
}

async function copyOnce(
  name: CopierName,
  sources: readonly { readonly path: string }[],
  cached: boolean,
): Promise<number> {
  const copies = sources.map(({ path }) => ({ from: path, to: `${path}.copy` }));
  for (const { from } of copies) {
    // GNU dd is the tool that tells the kernel to forget or to read a file
    if (cached) await run("dd", [`if=${from}`, "of=/dev/null", "bs=1M", "status=none"]);
    else await run("dd", [`if=${from}`, "iflag=nocache", "count=0", "status=none"]);
  }
  const spentMs = await time(() => Promise.all(copies.map(({ from, to }) => copiers[name](from, to))));
  await Promise.all(copies.map(({ to }) => rm(to)));
  return spentMs;
}

/** So that nobody is always first. */
export function rotate<T>(items: readonly T[], by: number): T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

async function sync(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
