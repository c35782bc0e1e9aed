/** `doctor`: what of this host qmirror can use, found out by trying. */
import { execFile } from "node:child_process";
import { access, constants, readdir, statfs } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { DoctorCheck } from "../api-types/index.ts";
import { errorText } from "../base/errors.ts";
import { tryAccelerator } from "../qemu/accel.ts";
import { identifyByPidFile } from "../qemu/identity.ts";
import { domainPaths } from "./domain-paths.ts";

const run = promisify(execFile);

/** Below this the next operation may be refused for want of room in the journal. */
const littleSpaceBytes = 64 * 1024 * 1024;

export interface DoctorOptions {
  readonly stateDir: string;
  readonly runtimeDir: string;
  /** Why the state file cannot be read; absent: it was read, and checked. */
  readonly unreadable?: Error;
  /** Uuids of the domains in it. */
  readonly known?: readonly string[];
}

export async function runDoctor(options: DoctorOptions): Promise<DoctorCheck[]> {
  const checks = await Promise.all([
    checkNode(),
    checkProgram("qemu-system-x86_64", "apt-get install qemu-system-x86"),
    checkProgram("qemu-img", "apt-get install qemu-utils"),
    checkAccelerator("kvm"),
    checkAccelerator("tcg"),
    checkDirectory("state directory", options.stateDir),
    checkDirectory("runtime directory", options.runtimeDir),
    checkStateFile(options),
    checkUnknownQemus(options),
  ]);
  return checks;
}

function checkNode(): Promise<DoctorCheck> {
  return Promise.resolve({ name: "node", verdict: "ok", detail: `Node ${process.versions.node}` });
}

async function checkProgram(program: string, install: string): Promise<DoctorCheck> {
  try {
    const { stdout } = await run(program, ["--version"], { timeout: 10_000 });
    return { name: program, verdict: "ok", detail: stdout.split("\n")[0] ?? "" };
  } catch (error) {
    return { name: program, verdict: "failed", detail: errorText(error), next: install };
  }
}

async function checkAccelerator(accelerator: "kvm" | "tcg"): Promise<DoctorCheck> {
  const { works, reason } = await tryAccelerator(accelerator);
  const kind = accelerator === "kvm" ? "kvm" : "qemu";
  if (works) return { name: accelerator, verdict: "ok", detail: `guest code runs: <domain type='${kind}'> works` };
  return {
    name: accelerator,
    verdict: accelerator === "kvm" ? "warning" : "failed",
    detail: reason,
    ...(accelerator === "kvm" ? { next: "use <domain type='qemu'>, which is slower" } : {}),
  };
}

async function checkDirectory(name: string, path: string): Promise<DoctorCheck> {
  try {
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
    return { name, verdict: "ok", detail: path };
  } catch (error) {
    return { name, verdict: "failed", detail: errorText(error) };
  }
}

async function checkStateFile({ stateDir, unreadable }: DoctorOptions): Promise<DoctorCheck> {
  const name = "state file";
  if (unreadable !== undefined) {
    const next = `no domain is touched until it is readable; qmirrord (pid ${process.pid}) has to be started anew then: docs/guide/when-things-go-wrong.md`;
    return { name, verdict: "failed", detail: unreadable.message.replace(/^state file /, ""), next };
  }
  try {
    const { bavail, bsize } = await statfs(stateDir);
    const [freeBytes, detail] = [bavail * bsize, `whole; ${bavail * bsize} bytes are free beside it`];
    if (freeBytes >= littleSpaceBytes) return { name, verdict: "ok", detail };
    return {
      name,
      verdict: "warning",
      detail,
      next: `make room in ${stateDir}: operations are refused when it is full`,
    };
  } catch (error) {
    return { name, verdict: "failed", detail: errorText(error) };
  }
}

/** QEMUs that qmirror has started and whose domains the state file does not know: it was lost, or replaced by an older one. */
async function checkUnknownQemus({ runtimeDir, known = [] }: DoctorOptions): Promise<DoctorCheck> {
  const name = "running QEMUs";
  const uuids = await readdir(join(runtimeDir, "domains")).catch(() => []);
  const found = await Promise.all(
    uuids.filter((uuid) => !known.includes(uuid)).map((uuid) => identifyByPidFile(domainPaths(runtimeDir, uuid), uuid)),
  );
  const strange = found.filter((identity) => identity !== undefined);
  if (strange.length === 0) return { name, verdict: "ok", detail: "each belongs to a domain of the state file" };
  const detail = strange.map(({ pid, qmpSocket }) => `pid ${pid} with its monitor at ${qmpSocket}`).join("; ");
  const next = "`qmirror attach SOCKET` manages one again, once the state file is readable";
  return { name, verdict: "warning", detail: `in no domain of the state file: ${detail}`, next };
}
