/** Whether an accelerator runs guest code on this machine: found out by running some. */
import { execFile, type ExecFileException } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Accelerator = "kvm" | "tcg";

export interface AcceleratorTrial {
  readonly works: boolean;
  /** For people; QEMU's own words where it has some. */
  readonly reason: string;
}

export interface TrialOptions {
  /** Absent: `qemu-system-x86_64` on the PATH. */
  readonly emulator?: string;
  /** Default 5000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** What the boot sector writes to the debug-exit port. */
const proof = 0x2a;
/** QEMU's `isa-debug-exit` turns the written value into this exit status. */
const proofStatus = (proof << 1) | 1;

/**
 * Boots a disk whose first sector makes QEMU exit with a status of our choice: firmware and guest code have run then. The existence
 * of /dev/kvm proves less: on some machines within machines it opens, and the guest never gets through its firmware.
 * Never rejects for a failing QEMU; rejects when the temporary file cannot be written, or as `signal` says. x86 only.
 */
export async function tryAccelerator(accelerator: Accelerator, options: TrialOptions = {}): Promise<AcceleratorTrial> {
  const { emulator = "qemu-system-x86_64", timeoutMs = 5000, signal } = options;
  const directory = await mkdtemp(join(tmpdir(), "qmirror-accel-"));
  try {
    const image = join(directory, "boot.raw");
    await writeFile(image, bootDisk());
    return await runTrial(emulator, listArguments(accelerator, image), timeoutMs, signal);
  } finally {
    await rm(directory, { recursive: true });
  }
}

function bootDisk(): Buffer {
  // The firmware finds no geometry for a disk of one sector alone.
  const disk = Buffer.alloc(1024 * 1024);
  disk.set([
    ...[0xba, 0xf4, 0x00], // mov dx, 0xf4
    ...[0xb0, proof], // mov al, proof
    0xee, // out dx, al
    ...[0xf4, 0xeb, 0xfd], // hlt, for ever
  ]);
  disk.set([0x55, 0xaa], 510);
  return disk;
}

function listArguments(accelerator: Accelerator, image: string): string[] {
  const drive = { driver: "raw", "node-name": "boot", "read-only": true, file: { driver: "file", filename: image } };
  return [
    ...["-machine", `q35,accel=${accelerator}`, "-nodefaults", "-no-user-config", "-display", "none", "-m", "32"],
    ...["-blockdev", JSON.stringify(drive), "-device", "virtio-blk-pci,drive=boot,bootindex=0"],
    ...["-device", "isa-debug-exit,iobase=0xf4,iosize=1"],
  ];
}

function runTrial(
  emulator: string,
  args: string[],
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<AcceleratorTrial> {
  const limits = { timeout: timeoutMs, killSignal: "SIGKILL", ...(signal === undefined ? {} : { signal }) } as const;
  return new Promise((resolve, reject) => {
    execFile(emulator, args, limits, (error, _, stderr) => {
      const words = stderr.trim();
      if (signal?.aborted === true) reject(error ?? new Error("aborted"));
      else if (error?.code === proofStatus) resolve({ works: true, reason: "a guest ran" });
      else if (error?.killed === true) resolve(fail(`no guest code ran within ${timeoutMs} ms`, words));
      else resolve(fail(describeEnd(error), words));
    });
  });
}

function describeEnd(error: ExecFileException | null): string {
  if (error === null) return "QEMU ended before guest code ran";
  if (error.signal) return `QEMU was ended by ${error.signal}`;
  return typeof error.code === "number" ? `QEMU exited with status ${error.code}` : error.message;
}

function fail(reason: string, words: string): AcceleratorTrial {
  return { works: false, reason: words === "" ? reason : `${reason}; QEMU said: ${words}` };
}
