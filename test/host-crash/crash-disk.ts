/**
 * A file system that loses what was not made durable: a file on a loop device, ended by the file system's own shutdown without
 * writing its log (`XFS_IOC_GOINGDOWN`, `EXT4_IOC_SHUTDOWN` with NOLOGFLUSH). What nobody has synced is gone when it is mounted again.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

export const fileSystems = ["ext4", "xfs"] as const;
export type FileSystem = (typeof fileSystems)[number];

/** The longest times that they offer: what is not synced must not become durable by itself. */
const mountOptions: Record<FileSystem, string> = { ext4: "loop,commit=600,noauto_da_alloc", xfs: "loop" };
const mkfsArguments: Record<FileSystem, readonly string[]> = { ext4: ["-q", "-F"], xfs: ["-q", "-f"] };
const sizeBytes = 1024 ** 3;
const sbin = ["/usr/sbin", "/sbin"];
const env = { ...process.env, PATH: [process.env["PATH"] ?? "", ...sbin].join(":") };

/** Why there can be no such disk here; absent: there can. */
export async function reasonAgainst(fileSystem: FileSystem): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "mounting a file system needs root";
  if (!existsSync("/dev/loop-control")) return "the machine has no loop devices";
  const missing = ["xfs_io", `mkfs.${fileSystem}`].find((name) => !sbin.some((path) => existsSync(join(path, name))));
  if (missing !== undefined) return `${missing} is not installed`;
  try {
    await new CrashDisks(fileSystem, "together").close();
    return undefined;
  } catch (error) {
    return `${fileSystem} cannot be mounted here: ${String(error)}`;
  }
}

/** `together`: all on one file system, whose log orders what happens to them. `apart`: each on its own, as storage usually is. */
export const layouts = ["together", "apart"] as const;
export type Layout = (typeof layouts)[number];

/** Of the state file, of the domain's images, and of where they go. */
export const placeNames = ["state", "source", "target"] as const;

export class CrashDisks {
  /** Survives: nothing of it is on a file system that crashes. */
  readonly directory = mkdtempSync(join(tmpdir(), "qmirror-host-"));
  readonly mountPoints: readonly string[];
  readonly #fileSystem: FileSystem;

  /** Makes and mounts them; nothing is left when that fails. */
  constructor(fileSystem: FileSystem, layout: Layout) {
    this.#fileSystem = fileSystem;
    const places = placeNames.map((name) => this.path(name));
    this.mountPoints = layout === "together" ? [this.path()] : places;
    mkdirSync(this.path());
    const mounted: string[] = [];
    try {
      for (const point of this.mountPoints) {
        mkdirSync(point, { recursive: true });
        writeFileSync(imageOf(point), "");
        truncateSync(imageOf(point), sizeBytes);
        execFileSync(`mkfs.${fileSystem}`, [...mkfsArguments[fileSystem], imageOf(point)], { env });
        this.#mount(point);
        mounted.push(point);
      }
      for (const place of places) mkdirSync(place, { recursive: true });
    } catch (error) {
      for (const point of mounted) execFileSync("umount", [point], { env });
      rmSync(this.directory, { recursive: true });
      throw error;
    }
  }

  path(...names: string[]): string {
    return join(this.directory, "disk", ...names);
  }

  /** What was made ready for a test stays. */
  makeDurable(): void {
    for (const point of this.mountPoints) execFileSync("sync", ["-f", point]);
  }

  /** Replays the logs: the state that a host finds when it starts again. */
  async restart(): Promise<void> {
    await this.#unmount();
    for (const point of this.mountPoints) this.#mount(point);
  }

  async close(): Promise<void> {
    await this.#unmount();
    rmSync(this.directory, { recursive: true });
  }

  #mount(point: string): void {
    execFileSync("mount", ["-t", this.#fileSystem, "-o", mountOptions[this.#fileSystem], imageOf(point), point], {
      env,
    });
  }

  /** Their users are ended already; but QEMU is nobody's child here, so that only trying tells when it is gone. */
  async #unmount(): Promise<void> {
    for (const point of this.mountPoints) {
      for (let tries = 100; ; tries--) {
        try {
          execFileSync("umount", [point], { env, stdio: "pipe" });
          break;
        } catch (error) {
          if (tries === 0) throw error;
          await wait(50);
        }
      }
    }
  }
}

/** Beside the directory that they are mounted in, which may be one of them. */
function imageOf(mountPoint: string): string {
  return `${mountPoint.replace(/\/disk(?=\/|$)/, "/image").replaceAll(/(?<=\/image)\//g, "-")}.img`;
}

/** Whoever has files open there gets errors from now on. */
export function failPower(mountPoints: readonly string[]): void {
  for (const point of mountPoints) execFileSync("xfs_io", ["-x", "-c", "shutdown", point], { env });
}
