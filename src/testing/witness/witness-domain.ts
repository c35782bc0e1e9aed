/** The witness guest as a domain: its images, its XML, and where its console goes. Used by the demo, the benchmark and tests. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { WitnessImage } from "./check-images.ts";
import { formatWitnessCmdline } from "./cmdline.ts";
import { makeFileSystem } from "./file-system.ts";
import { fillPattern } from "./images.ts";
import { buildInitramfs } from "./initramfs.ts";

export interface WitnessDomainOptions {
  readonly name: string;
  /** Gets `source/` with the images, and `console.log`. */
  readonly directory: string;
  /** Where the built guest is kept between runs. */
  readonly cacheDir: string;
  readonly disks: number;
  readonly sizeBytes: number;
  readonly slots: number;
  readonly run: bigint;
  /** Pause after each write; default 0. */
  readonly intervalUs?: number;
  readonly cache?: "none" | "writeback";
  /** The guest has QEMU's guest agent and its channel, and an ext4 file system on every disk. */
  readonly agent?: boolean;
}

export interface WitnessDomain {
  readonly xml: string;
  readonly serial: string;
  readonly images: readonly WitnessImage[];
  /** Offset of the first record on each disk, or in the file `records` where the guest has file systems. */
  readonly offsetBytes: number;
}

/** Makes qcow2 images, patterned or with file systems, and the `<domain>` that boots the witness on them. The caller removes the directory. */
export async function makeWitnessDomain(options: WitnessDomainOptions): Promise<WitnessDomain> {
  const { name, directory, disks, sizeBytes, slots, run, intervalUs = 0, cache = "none", agent = false } = options;
  const guest = await buildInitramfs(options.cacheDir, { agent });
  const offsetBytes = agent ? 0 : 1024 * 1024;
  await mkdir(join(directory, "source"), { recursive: true });
  const targets = Array.from({ length: disks }, (_, index) => `vd${String.fromCharCode(97 + index)}`);
  const images = targets.map((target, disk) => ({
    disk,
    path: join(directory, "source", `${target}.qcow2`),
    format: "qcow2" as const,
  }));
  for (const image of images) await (agent ? makeFileSystem : fillPattern)({ ...image, sizeBytes });
  const serial = join(directory, "console.log");
  const cmdline = formatWitnessCmdline({ disks: targets, run, slots, offsetBytes, intervalUs });
  const diskXml = images.map(({ path }, index) => formatDisk(path, targets[index] ?? "", cache));
  const xml = `<domain type='qemu'>
  <name>${name}</name>
  <memory unit='MiB'>160</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>${guest.kernel}</kernel>
    <initrd>${guest.initrd}</initrd>
    <cmdline>${cmdline}</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
${diskXml.join("\n")}
    <serial type='file'><source path='${serial}'/></serial>${agent ? agentChannel : ""}
  </devices>
</domain>`;
  return { xml, serial, images, offsetBytes };
}

const agentChannel = `
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>`;

function formatDisk(path: string, target: string, cache: string): string {
  return `    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='${cache}' discard='unmap'/>
      <source file='${path}'/>
      <target dev='${target}' bus='virtio'/>
    </disk>`;
}
