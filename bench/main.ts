/**
 * `npm run bench`: qmirror beside a bare script that sends the same commands, and beside libvirt, in one session with
 * interleaved runs. Needs what the witness guest needs (`node tools/bootstrap.mjs --packages`).
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import type { Contender, ContenderName } from "./contender.ts";
import { measureCopying, rotate } from "./copy.ts";
import { openFloor } from "./floor.ts";
import { guestDiskBytes, loads, makeGuest, type Load } from "./guests.ts";
import { openLibvirt, type Libvirt } from "./libvirt.ts";
import { bootGuest, measureGuest, type Figures } from "./measure.ts";
import { openOurs } from "./ours.ts";
import { formatReport } from "./print-report.ts";
import { judge, judgeSnapshots, summarize, type Report, type Row } from "./report.ts";
import { measureSnapshots } from "./snapshots.ts";

const usage = "usage: node bench/main.ts [--json] [--peer libvirt] [--disks 1,4,16] [--runs 3] [--quick]\n";
const mebibyte = 1024 ** 2;

interface Options {
  readonly json: boolean;
  readonly peer: boolean;
  readonly disks: readonly number[];
  readonly runs: number;
  readonly copiedBytes: number;
}

function parseOptions(argv: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      json: { type: "boolean", default: false },
      peer: { type: "string" },
      disks: { type: "string" },
      runs: { type: "string" },
      quick: { type: "boolean", default: false },
    },
  });
  if (values.peer !== undefined && values.peer !== "libvirt") throw new TypeError(`unknown peer '${values.peer}'`);
  return {
    json: values.json,
    peer: values.peer !== undefined,
    disks: (values.disks ?? (values.quick ? "1,4" : "1,4,16")).split(",").map((text) => parseCount(text, 26)),
    runs: parseCount(values.runs ?? (values.quick ? "1" : "3"), 100),
    copiedBytes: (values.quick ? 128 : 1024) * mebibyte,
  };
}

function parseCount(text: string, most: number): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > most) throw new TypeError(`'${text}' is no count up to ${most}`);
  return count;
}

/** Boots a fresh guest for each contender, all at once, then measures one after the other while the rest stand still. */
async function measureRound(
  contenders: readonly Contender[],
  directory: string,
  { disks, load, signal }: { disks: number; load: Load; signal: AbortSignal },
): Promise<Map<ContenderName, Figures>> {
  await mkdir(directory);
  const booting = contenders.map(async (contender) => {
    const name = `bench-${contender.name}`;
    const guest = await makeGuest(join(directory, contender.name), name, disks, load);
    return await bootGuest(contender, guest, signal);
  });
  const settled = await Promise.allSettled(booting);
  const figures = new Map<ContenderName, Figures>();
  for (const result of settled) {
    if (result.status === "rejected") throw result.reason;
    figures.set(result.value.contender.name, await measureGuest(result.value, load, signal));
    await result.value.contender.destroy(result.value.guest);
    await result.value.monitor.close();
  }
  await rm(directory, { recursive: true });
  return figures;
}

async function measureRows(
  contenders: readonly Contender[],
  directory: string,
  { disks: counts, runs }: Options,
  signal: AbortSignal,
): Promise<Row[]> {
  // Not counted: code that runs for the first time is slow, here and there.
  await measureRound(contenders, join(directory, "warm-up"), { disks: 1, load: "idle", signal });
  const rows: Row[] = [];
  for (const disks of counts) {
    for (const load of loads) {
      const samples = new Map<ContenderName, Figures[]>(contenders.map(({ name }) => [name, []]));
      for (let run = 0; run < runs; run++) {
        process.stderr.write(`${disks} disks, ${load}, run ${run + 1} of ${runs}\n`);
        const round = join(directory, `${disks}-${load}-${run}`);
        const figures = await measureRound(rotate(contenders, run), round, { disks, load, signal });
        for (const [name, one] of figures) samples.get(name)?.push(one);
      }
      rows.push(summarize(disks, load, samples));
    }
  }
  return rows;
}

async function readQemuVersion(): Promise<string> {
  const { stdout } = await promisify(execFile)("qemu-system-x86_64", ["--version"]);
  return /version (\S+)/.exec(stdout)?.[1] ?? stdout.trim();
}

/** Everything that is started or written is gone when it returns or throws. */
async function bench(options: Options, signal: AbortSignal): Promise<Report> {
  await using cleanup = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "qmirror-bench-"));
  cleanup.defer(() => rm(directory, { recursive: true, force: true }));
  const open = async <T extends Contender>(opening: Promise<T> | T): Promise<T> => {
    const contender = await opening;
    cleanup.defer(() => contender.close());
    return contender;
  };
  const contenders: Contender[] = [await open(openOurs(directory)), await open(openFloor(directory, guestDiskBytes))];
  let libvirt: Libvirt | undefined;
  if (options.peer) contenders.push((libvirt = await open(openLibvirt(directory))));
  const rows = await measureRows(contenders, directory, options, signal);
  process.stderr.write("copying\n");
  const copies = await measureCopying(directory, options.copiedBytes, options.runs, signal);
  process.stderr.write("snapshots\n");
  const snapshots = await measureSnapshots(join(directory, "snapshots"), options.runs, signal);
  const machine = {
    cores: availableParallelism(),
    qemu: await readQemuVersion(),
    libvirt: libvirt?.version ?? null,
    node: process.versions.node,
  };
  const copy = { sizeBytes: options.copiedBytes, rows: copies };
  const targets = [...judge(rows, copies), ...judgeSnapshots(snapshots)];
  return { machine, runs: options.runs, rows, copy, snapshots, targets };
}

async function main(): Promise<void> {
  let options: Options;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
    process.exitCode = 2;
    return;
  }
  const interrupted = new AbortController();
  // The next one has its default effect.
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => interrupted.abort());
  const report = await bench(options, interrupted.signal).catch((error: unknown) => {
    if (!interrupted.signal.aborted) throw error;
    process.stderr.write("interrupted; everything that was started is gone\n");
    process.exitCode = 130;
    return undefined;
  });
  if (report !== undefined)
    process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : formatReport(report)}\n`);
}

await main();
