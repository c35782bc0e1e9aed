/** One power failure, the start after it, and what it has to find. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { makeWitnessDomain } from "../../src/testing/witness/witness-domain.ts";
import { cacheDir } from "../live/witness-rig.ts";
import type { Act } from "./actor.ts";
import { CrashDisks, failPower, type FileSystem, type Layout } from "./crash-disk.ts";
import { examine, type Findings } from "./examine.ts";
import type { VerbName } from "./verbs.ts";

const actorPath = fileURLToPath(new URL("actor.ts", import.meta.url));
const targets = ["vda", "vdb"];
export const run = 0x5eedn;
export const slots = 512;
const imageBytes = 4 * 1024 * 1024;

export interface Crash {
  readonly verb: VerbName;
  readonly fileSystem: FileSystem;
  readonly layout: Layout;
  readonly cache: "none" | "writeback";
  /** At a point of the engine, or so long after the operation began. */
  readonly die: NonNullable<Act["die"]> | { readonly afterMs: number };
}

/** Rejects when the run itself could not be done. */
export async function runCrash(crash: Crash): Promise<Findings> {
  const disk = new CrashDisks(crash.fileSystem, crash.layout);
  const runtimeDir = join(disk.directory, "run");
  try {
    mkdirSync(runtimeDir);
    const domain = await makeWitnessDomain({
      ...{ name: "witness", directory: disk.path(), cacheDir, run, slots, sizeBytes: imageBytes },
      ...{ disks: targets.length, cache: crash.cache, intervalUs: 1000 },
    });
    disk.makeDurable();
    // What the guest says survives the host: it stands for whoever was told that a write is safe.
    const serial = join(disk.directory, "console.log");
    const notes = join(disk.directory, "notes");
    const act: Act = {
      ...{
        stateDir: disk.path("state"),
        runtimeDir,
        mountPoints: disk.mountPoints,
        source: disk.path("source"),
        target: disk.path("target"),
        disks: targets,
      },
      ...{ verb: crash.verb, xml: domain.xml.replace(domain.serial, serial), serial, notes },
      ...("nth" in crash.die ? { die: crash.die } : {}),
    };
    await crashDuring(act, crash, disk);
    killQemu(runtimeDir);
    await disk.restart();
    // As a tmpfs, it is gone with the host.
    rmSync(runtimeDir, { recursive: true });
    mkdirSync(runtimeDir);
    return await examine(act, { offsetBytes: domain.offsetBytes, run, slots });
  } finally {
    killQemu(runtimeDir);
    await disk.close();
  }
}

async function crashDuring(act: Act, { die }: Crash, disk: CrashDisks): Promise<void> {
  const child = spawn(process.execPath, [actorPath, JSON.stringify(act)], { stdio: ["ignore", "pipe", "inherit"] });
  const exit = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  if ("afterMs" in die) {
    await Promise.race([once(child.stdout, "data"), exit]);
    // The instant is what this run is about.
    await wait(die.afterMs);
    // Several file systems end one after the other: the daemon must not see one of them gone and act on another.
    child.kill("SIGSTOP");
    if (child.exitCode === null && child.signalCode === null) failPower(disk.mountPoints);
    child.kill("SIGKILL");
  }
  const [code, signal] = await exit;
  if ("nth" in die && signal !== "SIGKILL")
    throw new Error(`${act.verb} ended with ${signal ?? code} before the crash`);
}

function killQemu(runtimeDir: string): void {
  const domains = join(runtimeDir, "domains");
  for (const uuid of listDirectory(domains)) {
    try {
      process.kill(Number(readFileSync(join(domains, uuid, "qemu.pid"), "utf8")), "SIGKILL");
    } catch {
      // It has ended, or was never started.
    }
  }
}

function listDirectory(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
