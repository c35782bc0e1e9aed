/**
 * The witness guest's kernel and initramfs: Debian's cloud kernel and modules as `tools/bootstrap.mjs` fetched them, busybox,
 * an init script, and the writer program. With `agent` also QEMU's guest agent with its libraries.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { QmError, errorText } from "../../base/errors.ts";
import { buildCpio, type ArchiveEntry } from "./cpio.ts";
import guestModules from "./guest-modules.json" with { type: "json" };
import { buildInitScript } from "./init-script.ts";
import { buildWriterProgram } from "./writer-program.ts";

export interface GuestImages {
  /** Absolute when `cacheDir` was. */
  readonly kernel: string;
  readonly initrd: string;
}

export interface GuestOptions {
  /** Run QEMU's guest agent, and write to a file on each disk's ext4 file system instead of to the disk (see `file-system.ts`). */
  readonly agent?: boolean;
}

const busyboxPaths = ["/usr/bin/busybox", "/bin/busybox"];

/**
 * Gives the files for QEMU's `-kernel` and `-initrd`. `cacheDir` holds `guest-kernel/` and `guest-agent/` (see
 * `tools/bootstrap.mjs`); the initramfs is written to `cacheDir/witness/`, named by a hash of its content, once.
 * Throws `QM_IO` when the kernel, a module, busybox or the agent is missing. Safe to call at the same time from several processes.
 */
export async function buildInitramfs(cacheDir: string, options: GuestOptions = {}): Promise<GuestImages> {
  const kernel = join(cacheDir, "guest-kernel", "vmlinuz");
  const agent = options.agent === true;
  const archive = buildCpio([
    ...(await collectEntries(cacheDir, kernel, agent)),
    ...(agent ? await collectAgent(join(cacheDir, "guest-agent")) : []),
  ]);
  const hash = createHash("sha256").update(archive).digest("hex").slice(0, 16);
  const directory = join(cacheDir, "witness");
  const initrd = join(directory, `initrd-${hash}.cpio`);
  if (await exists(initrd)) return { kernel, initrd };
  await mkdir(directory, { recursive: true });
  const draft = `${initrd}.${process.pid}`;
  await writeFile(draft, archive);
  await rename(draft, initrd);
  return { kernel, initrd };
}

async function collectEntries(cacheDir: string, kernel: string, agent: boolean): Promise<ArchiveEntry[]> {
  if (!(await exists(kernel))) throw missing(kernel, "the guest kernel is not there");
  const names = [...guestModules.virtio, ...guestModules.scsi, ...(agent ? guestModules.agent : [])];
  const modules = names.map(async (name): Promise<ArchiveEntry> => {
    const content = await readNeeded(join(cacheDir, "guest-kernel", `${name}.ko`));
    return { type: "file", path: `modules/${name}.ko`, content, executable: false };
  });
  return [
    ...["bin", "dev", "proc", "sys", "modules"].map((path): ArchiveEntry => ({ type: "directory", path })),
    { type: "character-device", path: "dev/console", major: 5, minor: 1 },
    { type: "file", path: "init", content: Buffer.from(buildInitScript({ agent })), executable: true },
    { type: "file", path: "bin/busybox", content: await readBusybox(), executable: true },
    { type: "file", path: "bin/witness", content: buildWriterProgram(), executable: true },
    ...(await Promise.all(modules)),
  ];
}

/** The program, and its libraries where its loader, which has a fixed place, looks for them. */
async function collectAgent(directory: string): Promise<ArchiveEntry[]> {
  const names = await readdir(directory).catch((error) => {
    throw missing(directory, errorText(error), error);
  });
  const files = names.toSorted().map(async (name): Promise<ArchiveEntry> => {
    const place = name === "qemu-ga" ? "bin" : name.startsWith("ld-") ? "lib64" : "lib";
    return {
      type: "file",
      path: `${place}/${name}`,
      content: await readNeeded(join(directory, name)),
      executable: true,
    };
  });
  const directories = ["lib", "lib64", "run", "mnt"].map((path): ArchiveEntry => ({ type: "directory", path }));
  return [...directories, ...(await Promise.all(files))];
}

async function readBusybox(): Promise<Buffer> {
  for (const path of busyboxPaths) {
    if (await exists(path)) return readNeeded(path);
  }
  throw missing(busyboxPaths.join(" or "), "busybox is not installed");
}

async function readNeeded(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw missing(path, errorText(error), error);
  }
}

function missing(path: string, reason: string, cause?: unknown): QmError {
  const advice = "`node tools/bootstrap.mjs --packages` gets what the witness guest needs";
  return new QmError("QM_IO", { what: "reading", path, reason: `${reason}; ${advice}` }, { cause });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
