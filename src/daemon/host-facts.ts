/** What libvirt's clients ask about this host. */
import { execFile } from "node:child_process";
import { hostname } from "node:os";
import { promisify } from "node:util";
import { errorText, QmError } from "../base/errors.ts";
import { tryAccelerator } from "../qemu/accel.ts";
import type { HostFacts } from "../remote/index.ts";

const emulator = "qemu-system-x86_64";
const timeoutMs = 10_000;
/** A client waits for it: where KVM works its trial takes a fraction, and where it hangs it would take longest. */
const kvmTimeoutMs = 2_000;
const run = promisify(execFile);

/** What takes a process to find out is found out when it is first asked for, and kept. */
export function readHostFacts(): HostFacts {
  let version: Promise<number> | undefined;
  let kvm: Promise<boolean> | undefined;
  return {
    hostname: hostname(),
    uri: process.getuid?.() === 0 ? "qemu:///system" : "qemu:///session",
    async readQemuVersion() {
      version ??= readVersion();
      try {
        return await version;
      } catch (error) {
        version = undefined; // it may be installed meanwhile
        throw error;
      }
    },
    hasKvm() {
      kvm ??= tryAccelerator("kvm", { timeoutMs: kvmTimeoutMs }).then(
        ({ works }) => works,
        () => false,
      );
      return kvm;
    },
  };
}

async function readVersion(): Promise<number> {
  try {
    const { stdout } = await run(emulator, ["--version"], { timeout: timeoutMs });
    const [, major, minor, release] = /version (\d+)\.(\d+)\.(\d+)/.exec(stdout) ?? [];
    if (major === undefined) throw new Error(`${emulator} tells no version: ${stdout}`);
    return Number(major) * 1_000_000 + Number(minor) * 1_000 + Number(release);
  } catch (error) {
    throw new QmError("QM_IO", { what: "running", path: emulator, reason: errorText(error) }, { cause: error });
  }
}
