/**
 * The witness guest's kernel and initramfs: Debian's cloud kernel and modules as `tools/bootstrap.mjs` fetched them, busybox,
 * an init script, and the writer program.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { QmError, errorText } from "../../base/errors.ts";
import { buildCpio, type ArchiveEntry } from "./cpio.ts";
import guestModules from "./guest-modules.json" with { type: "json" };
import { buildWriterProgram } from "./writer-program.ts";

export interface GuestImages {
  /** Absolute when `cacheDir` was. */
  readonly kernel: string;
  readonly initrd: string;
}

const busyboxPaths = ["/usr/bin/busybox", "/bin/busybox"];

/**
 * Gives the files for QEMU's `-kernel` and `-initrd`. `cacheDir` holds `guest-kernel/` (see `tools/bootstrap.mjs`); the
 * initramfs is written to `cacheDir/witness/`, named by a hash of its content, once.
 * Throws `QM_IO` when the kernel, a module or busybox is missing. Safe to call at the same time from several processes.
 */
export async function buildInitramfs(cacheDir: string): Promise<GuestImages> {
  const kernel = join(cacheDir, "guest-kernel", "vmlinuz");
  const archive = buildCpio(await collectEntries(cacheDir, kernel));
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

async function collectEntries(cacheDir: string, kernel: string): Promise<ArchiveEntry[]> {
  if (!(await exists(kernel))) throw missing(kernel, "the guest kernel is not there");
  const modules = [...guestModules.virtio, ...guestModules.scsi].map(async (name): Promise<ArchiveEntry> => {
    const content = await readNeeded(join(cacheDir, "guest-kernel", `${name}.ko`));
    return { type: "file", path: `modules/${name}.ko`, content, executable: false };
  });
  return [
    ...["bin", "dev", "proc", "sys", "modules"].map((path): ArchiveEntry => ({ type: "directory", path })),
    { type: "character-device", path: "dev/console", major: 5, minor: 1 },
    { type: "file", path: "init", content: Buffer.from(initScript), executable: true },
    { type: "file", path: "bin/busybox", content: await readBusybox(), executable: true },
    { type: "file", path: "bin/witness", content: buildWriterProgram(), executable: true },
    ...(await Promise.all(modules)),
  ];
}

/**
 * `S` says that the guest is up. SCSI disks appear some time after their driver is loaded and the guest has no udev to tell:
 * so it looks again every 20 ms, 10 s at most. Linux probes them side by side, so `sdb` may be the first disk of the bus:
 * `sda` on the command line means the first by address.
 */
const initScript = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t sysfs sys /sys
disks= run=0 slots=0 offset=0 interval=0 count=0
for word in $(/bin/busybox cat /proc/cmdline); do
  case $word in
    witness.disks=*) disks=\${word#*=} ;;
    witness.run=*) run=$((0x\${word#*=})) ;;
    witness.slots=*) slots=\${word#*=} ;;
    witness.offset=*) offset=\${word#*=} ;;
    witness.interval_us=*) interval=\${word#*=} ;;
    witness.count=*) count=\${word#*=} ;;
  esac
done
for module in ${guestModules.virtio.join(" ")}; do /bin/busybox insmod /modules/$module.ko; done
case $disks in
  *sd*) for module in ${guestModules.scsi.join(" ")}; do /bin/busybox insmod /modules/$module.ko; done ;;
esac
paths=
for disk in $(IFS=,; echo $disks); do
  tries=0
  until [ -b /dev/$disk ] || [ $tries = 500 ]; do /bin/busybox usleep 20000; tries=$((tries + 1)); done
done
for disk in $(IFS=,; echo $disks); do
  case $disk in
    sd?)
      letters=\${disk#sd}
      for found in /sys/bus/scsi/devices/*:*:*:*/block/*; do
        [ $letters = a ] && disk=\${found##*/} && break
        letters=$(echo $letters | /bin/busybox tr b-z a-y)
      done ;;
  esac
  paths="$paths /dev/$disk"
done
echo S
/bin/witness $run $slots $offset $interval $count $paths
/bin/busybox poweroff -f
`;

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
