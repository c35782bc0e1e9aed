/** `doctor`: what of this host qmirror can use, found out by trying. */
import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { promisify } from "node:util";
import type { DoctorCheck } from "../api-types/index.ts";
import { errorText } from "../base/errors.ts";
import { tryAccelerator } from "../qemu/accel.ts";

const run = promisify(execFile);

export async function runDoctor(options: { stateDir: string; runtimeDir: string }): Promise<DoctorCheck[]> {
  const checks = await Promise.all([
    checkNode(),
    checkProgram("qemu-system-x86_64", "apt-get install qemu-system-x86"),
    checkProgram("qemu-img", "apt-get install qemu-utils"),
    checkAccelerator("kvm"),
    checkAccelerator("tcg"),
    checkDirectory("state directory", options.stateDir),
    checkDirectory("runtime directory", options.runtimeDir),
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
